#include "send/mx_ranks.h"

#include "base/span.h"

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

/* A next hop of the settings that leads nowhere: no fault of the mail, which
 * waits until the setting or its name in the DNS is right. */
static void our_fault(struct answer *why, const char *text)
{
    answer_set(why, OUTCOME_NONE, "4.3.5", "%s", text);
    why->misconfigured = true;
}

static void no_host(struct answer *why, const struct mx_result *mx,
                    const struct mx_ranks_rules *rules)
{
    if (rules->configured && (mx->status != MX_TEMP || mx->unusable)) {
        our_fault(why, mx->why);
        return;
    }
    switch (mx->status) {
    case MX_NULL:
        answer_set(why, OUTCOME_FAILED, "5.1.10", "%s", mx->why);
        break;
    case MX_NO_DOMAIN:
        answer_set(why, OUTCOME_FAILED, "5.1.2", "%s", mx->why);
        break;
    case MX_NO_HOST:
    case MX_OK: answer_set(why, OUTCOME_FAILED, "5.4.4", "%s", mx->why); break;
    case MX_TEMP:
        answer_set(why, OUTCOME_DEFERRED, "4.4.3", "%s", mx->why);
        break;
    }
}

void mx_ranks_looped(struct answer *why, const struct own_host *self,
                     bool configured)
{
    if (configured)
        our_fault(why, "the next hop loops back to this system");
    else
        answer_set(why, OUTCOME_FAILED, "5.4.6",
                   "mail for this domain loops back to %s", self->hostname);
}

size_t mx_ranks_build(struct mx_candidate *out, const struct mx_result *mx,
                      const struct mx_ranks_rules *rules, struct answer *why)
{
    size_t n = 0;
    unsigned rank = 0;
    bool looped;

    if (mx->status != MX_OK) {
        no_host(why, mx, rules);
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
    else if (n == 0 && rules->configured)
        our_fault(why, "the next hop has no usable address");
    else if (n == 0)
        answer_set(why, OUTCOME_FAILED, "5.4.4",
                   "no mail host has a usable address");
    return n;
}
