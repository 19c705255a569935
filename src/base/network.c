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

/* The network that the address is in. */
static struct addr masked(const struct addr *a, unsigned bits)
{
    unsigned char bytes[16] = { 0 };
    struct addr out;
    size_t n;
    const unsigned char *p = addr_host_bytes(a, &n);

    for (size_t i = 0; i < n && 8 * i < bits; i++)
        bytes[i] = (unsigned char)(bits >= 8 * (i + 1)
                                       ? p[i]
                                       : p[i] & ~(0xffu >> (bits - 8 * i)));
    if (n == 4)
        addr_from_v4(&out, bytes, 0);
    else
        addr_from_v6(&out, bytes, 0);
    return out;
}

/* 255.255.255.0 is 24; -1: it is no mask. */
static int bits_of_mask(struct span s)
{
    struct addr mask;
    size_t n;
    int bits = 0;

    if (!addr_parse_ip(&mask, s, 0) || addr_is_v6(&mask))
        return -1;
    const unsigned char *p = addr_host_bytes(&mask, &n);
    while (bits < 32 && (p[bits / 8] & (0x80u >> bits % 8)) != 0)
        bits++;
    return bits_beyond_are_zero(&mask, (unsigned)bits) ? bits : -1;
}

/* Also what would be right. */
static int refuse(struct span s, const struct addr *base, unsigned bits,
                  const char *why, struct err *e)
{
    struct net_cidr c = { masked(base, bits), bits };
    char text[ADDR_PORT_TEXT];

    net_cidr_text(text, &c);
    return err_set(e, ERR_USAGE, 0, "'%.*s' %s (write %s)", span_clipped(s),
                   s.p, why, text);
}

int net_cidr_parse(struct net_cidr *c, struct span s, struct err *e)
{
    size_t slash = span_find(s, '/');
    unsigned long long bits;
    int mask;

    if (!addr_parse_ip(&c->base, (struct span){ s.p, slash }, 0))
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not a network (192.0.2.0/24, 2001:db8::/32)",
                       span_clipped(s), s.p);
    unsigned max = addr_is_v6(&c->base) ? 128 : 32;
    bits = max;
    struct span prefix = { s.p + slash + 1, slash < s.n ? s.n - slash - 1 : 0 };
    if (slash < s.n && (mask = bits_of_mask(prefix)) >= 0 && max == 32)
        return refuse(s, &c->base, (unsigned)mask, "has a mask", e);
    if (slash < s.n && !span_u64(prefix, max, &bits))
        return err_set(e, ERR_USAGE, 0, "'%.*s': prefix is not 0 to %u",
                       span_clipped(s), s.p, max);
    c->bits = (unsigned)bits;
    return bits_beyond_are_zero(&c->base, c->bits)
               ? 0
               : refuse(s, &c->base, c->bits, "has bits set beyond its prefix",
                        e);
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
