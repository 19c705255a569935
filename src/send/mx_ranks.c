#include "send/mx_ranks.h"

#include "base/span.h"
#include "send/fault.h"

#include <stdio.h>

/* A setting may name another program on this host: its name is no loop, a port
 * of ours is. */
static bool is_own_host(const struct mx_ranks_rules *rules,
                        const struct mx_host *h)
{
    if (span_is_nocase(span_of(h->name), rules->self->hostname) &&
        (!rules->configured || own_host_has_port(rules->self, rules->port)))
        return true;
    for (size_t i = 0; i < h->naddr; i++) {
        struct addr a = h->addr[i];
        addr_set_port(&a, rules->port);
        if (own_host_has(rules->self, &a, rules->configured))
            return true;
    }
    return false;
}

/* No host has such an address: multicast, class E and broadcast, and
 * link-local IPv6, which the DNS gives without the interface. */
static bool is_usable(const struct addr *a)
{
    unsigned char p[16];

    addr_bytes(p, a);
    if (!addr_is_v6(a))
        return p[12] < 224;
    return p[0] != 0xff && !(p[0] == 0xfe && (p[1] & 0xc0) == 0x80);
}

/* RFC 5321 5.1: drop this system and all hosts of the same or a worse
 * preference.  Returns the number of hosts that remain; *looped: it was among
 * them. */
static size_t before_own_host(const struct mx_result *mx,
                              const struct mx_ranks_rules *rules, bool *looped)
{
    size_t n = mx->nhost;

    *looped = false;
    for (size_t i = 0; i < n; i++)
        if (is_own_host(rules, &mx->host[i])) {
            *looped = true;
            while (i > 0 &&
                   mx->host[i - 1].preference == mx->host[i].preference)
                i--;
            n = i;
        }
    return n;
}

struct families {
    bool v4, v6; /* has usable addresses */
};

static struct families families_of(const struct mx_host *h,
                                   const struct mx_ranks_rules *rules)
{
    struct families f = { false, false };
    bool routed = false;

    for (size_t i = 0; i < h->naddr; i++) {
        if (!is_usable(&h->addr[i]))
            continue;
        if (addr_is_v6(&h->addr[i])) {
            f.v6 = true;
            routed |= rules->reachable(&h->addr[i]);
        } else {
            f.v4 = true;
        }
    }
    if (f.v4 && !routed)
        f.v6 = false;
    return f;
}

static size_t add_host(struct mx_candidate *out, const struct mx_result *mx,
                       size_t host, const struct mx_ranks_rules *rules,
                       unsigned rank)
{
    const struct mx_host *h = &mx->host[host];
    struct families f = families_of(h, rules);
    size_t n = 0;

    for (size_t i = 0; i < h->naddr; i++) {
        bool v6 = addr_is_v6(&h->addr[i]);
        if (!is_usable(&h->addr[i]) || (v6 ? !f.v6 : !f.v4))
            continue;
        struct mx_candidate *e = &out[n++];
        e->addr = h->addr[i];
        addr_set_port(&e->addr, rules->port);
        e->name = h->name;
        e->host = (uint8_t)host;
        e->rank = (uint8_t)(rank + (f.v4 && f.v6 && !v6));
    }
    return n;
}

/* What the DNS has instead of a host, and the status of mail that fails or is
 * deferred for it. */
struct no_host {
    enum fault_what what;
    const char *status;
};

static struct no_host no_host_of(const struct mx_result *mx)
{
    switch (mx->status) {
    case MX_NULL: return (struct no_host){ FAULT_NO_HOST, "5.1.10" };
    case MX_NO_DOMAIN: return (struct no_host){ FAULT_NO_HOST, "5.1.2" };
    case MX_TEMP:
        return (struct no_host){ mx->unusable ? FAULT_UNUSABLE
                                              : FAULT_NO_ANSWER,
                                 "4.4.3" };
    case MX_NO_HOST:
    case MX_OK: break;
    }
    return (struct no_host){ FAULT_NO_HOST, "5.4.4" };
}

/* The table decides what it costs the mail. */
static void judge(struct answer *why, struct no_host none, bool configured,
                  const char *text)
{
    const struct fault f = { .when = FAULT_LOOK_UP,
                             .what = none.what,
                             .configured = configured };

    switch (fault_judge(&f)->mail) {
    case MAIL_WAITS:
        answer_set(why, OUTCOME_NONE, "4.3.5", "%s", text);
        why->misconfigured = true;
        break;
    case MAIL_BOUNCES:
        answer_set(why, OUTCOME_FAILED, none.status, "%s", text);
        break;
    default: answer_set(why, OUTCOME_DEFERRED, none.status, "%s", text); break;
    }
}

void mx_ranks_looped(struct answer *why, const struct own_host *self,
                     bool configured)
{
    const struct no_host us = { FAULT_OWN_NAME, "5.4.6" };
    char text[DELIVERY_TEXT_MAX];

    snprintf(text, sizeof text, "mail for this domain loops back to %s",
             self->hostname);
    judge(why, us, configured,
          configured ? "the next hop loops back to this system" : text);
}

size_t mx_ranks_build(struct mx_candidate *out, const struct mx_result *mx,
                      const struct mx_ranks_rules *rules, struct answer *why)
{
    size_t n = 0;
    unsigned rank = 0;
    bool looped;

    if (mx->status != MX_OK) {
        judge(why, no_host_of(mx), rules->configured, mx->why);
        return 0;
    }
    size_t hosts = before_own_host(mx, rules, &looped);
    for (size_t i = 0; i < hosts; i++) {
        if (i > 0 && mx->host[i].preference != mx->host[i - 1].preference)
            rank += 2;
        n += add_host(out + n, mx, i, rules, rank);
    }
    if (n == 0 && looped)
        mx_ranks_looped(why, rules->self, rules->configured);
    else if (n == 0)
        judge(why, no_host_of(mx), rules->configured,
              rules->configured ? "the next hop has no usable address"
                                : "no mail host has a usable address");
    return n;
}
