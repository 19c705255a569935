#include "send/mx_order.h"

#include "base/span.h"

static bool is_own_host(const struct own_host *self, const struct mx_host *h,
                        uint16_t port)
{
    if (span_is_nocase(span_of(h->name), self->hostname))
        return true;
    for (size_t i = 0; i < h->naddr; i++)
        for (size_t k = 0; k < self->n; k++)
            if (addr_port(&self->addr[k]) == port &&
                addr_same_host(&self->addr[k], &h->addr[i]))
                return true;
    return false;
}

/* RFC 5321 5.1: drop this system and all hosts of the same or a worse
 * preference. Returns the number of hosts that remain; *looped: it was among
 * them. */
static size_t before_own_host(const struct mx_result *mx,
                              const struct mx_order_rules *rules, bool *looped)
{
    size_t n = mx->nhost;

    *looped = false;
    for (size_t i = 0; rules->refuse_loops && i < n; i++)
        if (is_own_host(rules->self, &mx->host[i], rules->port)) {
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
                                   const struct mx_order_rules *rules)
{
    struct families f = { false, false };
    bool routed = false;

    for (size_t i = 0; i < h->naddr; i++)
        if (addr_is_v6(&h->addr[i])) {
            f.v6 = true;
            routed |= rules->reachable(&h->addr[i]);
        } else {
            f.v4 = true;
        }
    if (f.v4 && !routed)
        f.v6 = false;
    return f;
}

static size_t add_host(struct mx_candidate *out, const struct mx_result *mx,
                       size_t host, const struct mx_order_rules *rules,
                       unsigned rank)
{
    const struct mx_host *h = &mx->host[host];
    struct families f = families_of(h, rules);
    size_t n = 0;

    for (size_t i = 0; i < h->naddr; i++) {
        bool v6 = addr_is_v6(&h->addr[i]);
        if (v6 ? !f.v6 : !f.v4)
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

static void no_host(struct answer *why, const struct mx_result *mx)
{
    switch (mx->status) {
    case MX_NULL:
        answer_set(why, OUTCOME_FAILED, "5.1.10", "%s", mx->why);
        why->status.code = 556; /* RFC 7505, RFC 7504 */
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

size_t mx_order_build(struct mx_candidate *out, const struct mx_result *mx,
                      const struct mx_order_rules *rules, struct answer *why)
{
    size_t n = 0;
    unsigned rank = 0;
    bool looped;

    if (mx->status != MX_OK) {
        no_host(why, mx);
        return 0;
    }
    size_t hosts = before_own_host(mx, rules, &looped);
    for (size_t i = 0; i < hosts; i++) {
        if (i > 0 && mx->host[i].preference != mx->host[i - 1].preference)
            rank += 2;
        n += add_host(out + n, mx, i, rules, rank);
    }
    if (n == 0 && looped)
        answer_set(why, OUTCOME_FAILED, "5.4.6",
                   "mail for this domain loops back to %s",
                   rules->self->hostname);
    else if (n == 0)
        answer_set(why, OUTCOME_FAILED, "5.4.4", "no mail host has an address");
    return n;
}
