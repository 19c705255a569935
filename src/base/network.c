#include "base/network.h"

#include <stdio.h>
#include <string.h>

static bool bits_beyond_are_zero(const struct addr *a, unsigned bits)
{
    size_t n;
    const unsigned char *p = addr_host_bytes(a, &n);

    for (size_t i = 0; i < n; i++) {
        unsigned keep = bits >= 8 * (i + 1) ? 8
                        : bits > 8 * i      ? bits - 8 * (unsigned)i
                                            : 0;
        if (p[i] & (0xffu >> keep))
            return false;
    }
    return true;
}

int net_cidr_parse(struct net_cidr *c, struct span s, struct err *e)
{
    size_t slash = span_find(s, '/');
    unsigned long long bits;

    if (!addr_parse_ip(&c->base, (struct span){ s.p, slash }, 0))
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not a network (192.0.2.0/24, 2001:db8::/32)",
                       span_clipped(s), s.p);
    unsigned max = addr_is_v6(&c->base) ? 128 : 32;
    bits = max;
    if (slash < s.n &&
        !span_u64((struct span){ s.p + slash + 1, s.n - slash - 1 }, max,
                  &bits))
        return err_set(e, ERR_USAGE, 0, "'%.*s': prefix is not 0 to %u",
                       span_clipped(s), s.p, max);
    c->bits = (unsigned)bits;
    if (!bits_beyond_are_zero(&c->base, c->bits))
        return err_set(e, ERR_USAGE, 0, "'%.*s' has bits set beyond its prefix",
                       span_clipped(s), s.p);
    return 0;
}

void net_cidr_text(char out[ADDR_PORT_TEXT], const struct net_cidr *c)
{
    char ip[ADDR_TEXT];

    addr_text(ip, &c->base);
    snprintf(out, ADDR_PORT_TEXT, "%s/%u", ip, c->bits);
}

bool net_cidr_has(const struct net_cidr *c, const struct addr *a)
{
    size_t n, na;
    const unsigned char *p = addr_host_bytes(&c->base, &n);
    const unsigned char *q = addr_host_bytes(a, &na);
    size_t whole = c->bits / 8;
    unsigned rest = c->bits % 8;

    if (n != na || memcmp(p, q, whole) != 0)
        return false;
    return rest == 0 || ((p[whole] ^ q[whole]) >> (8 - rest)) == 0;
}
