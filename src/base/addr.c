#include "base/addr.h"

#include "base/map.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

socklen_t addr_len(const struct addr *a)
{
    return addr_is_v6(a) ? (socklen_t)sizeof a->u.in6
                         : (socklen_t)sizeof a->u.in;
}

void addr_from_v4(struct addr *a, const void *four_bytes, uint16_t port)
{
    memset(a, 0, sizeof *a);
    a->u.in.sin_family = AF_INET;
    a->u.in.sin_port = htons(port);
    memcpy(&a->u.in.sin_addr, four_bytes, 4);
}

void addr_from_v6(struct addr *a, const void *sixteen_bytes, uint16_t port)
{
    static const unsigned char mapped[12] = { 0, 0, 0, 0, 0,    0,
                                              0, 0, 0, 0, 0xff, 0xff };
    const unsigned char *p = sixteen_bytes;

    if (memcmp(p, mapped, sizeof mapped) == 0) {
        addr_from_v4(a, p + 12, port);
        return;
    }
    memset(a, 0, sizeof *a);
    a->u.in6.sin6_family = AF_INET6;
    a->u.in6.sin6_port = htons(port);
    memcpy(&a->u.in6.sin6_addr, p, 16);
}

void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (sa->sa_family == AF_INET6) {
        memcpy(&in6, sa, sizeof in6);
        addr_from_v6(a, &in6.sin6_addr, ntohs(in6.sin6_port));
        if (addr_is_v6(a))
            a->u.in6.sin6_scope_id = in6.sin6_scope_id;
    } else {
        memcpy(&in, sa, sizeof in);
        addr_from_v4(a, &in.sin_addr, ntohs(in.sin_port));
    }
}

bool addr_is_v6(const struct addr *a)
{
    return a->u.sa.sa_family == AF_INET6;
}

uint16_t addr_port(const struct addr *a)
{
    return ntohs(addr_is_v6(a) ? a->u.in6.sin6_port : a->u.in.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (addr_is_v6(a))
        a->u.in6.sin6_port = htons(port);
    else
        a->u.in.sin_port = htons(port);
}

static const unsigned char *host_bytes(const struct addr *a, size_t *n)
{
    *n = addr_is_v6(a) ? 16 : 4;
    return addr_is_v6(a) ? (const unsigned char *)&a->u.in6.sin6_addr
                         : (const unsigned char *)&a->u.in.sin_addr;
}

bool addr_is_loopback(const struct addr *a)
{
    size_t n;
    const unsigned char *p = host_bytes(a, &n);

    return n == 4 ? p[0] == 127 : IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
    size_t na, nb;
    const unsigned char *pa = host_bytes(a, &na), *pb = host_bytes(b, &nb);

    return na == nb && memcmp(pa, pb, na) == 0 &&
           (na == 4 || a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_port(a) == addr_port(b) && addr_same_host(a, b);
}

uint64_t addr_hash_net(const struct addr *a)
{
    size_t n;
    const unsigned char *p = host_bytes(a, &n);

    return map_hash(p, n == 16 ? 8 : n);
}

uint64_t addr_hash(const struct addr *a)
{
    unsigned char key[18];
    size_t n;
    const unsigned char *p = host_bytes(a, &n);
    uint16_t port = addr_port(a);

    memcpy(key, p, n);
    memcpy(key + n, &port, sizeof port);
    return map_hash(key, n + sizeof port);
}

bool addr_parse_ip(struct addr *a, struct span text, uint16_t port)
{
    unsigned char raw[16];
    char s[INET6_ADDRSTRLEN + 1];

    if (!span_copy(s, sizeof s, text))
        return false;
    if (inet_pton(AF_INET, s, raw) == 1)
        addr_from_v4(a, raw, port);
    else if (inet_pton(AF_INET6, s, raw) == 1)
        addr_from_v6(a, raw, port);
    else
        return false;
    return true;
}

static bool take_port(struct span text, uint16_t *port)
{
    unsigned long long v;

    if (!span_u64(text, 65535, &v) || v == 0)
        return false;
    *port = (uint16_t)v;
    return true;
}

int addr_parse(struct addr *a, const char *text, uint16_t default_port,
               struct err *e)
{
    struct span s = span_of(text), ip = s;
    uint16_t port = default_port;
    bool fine = true;

    if (s.n > 0 && s.p[0] == '[') {
        size_t end = span_find(s, ']');
        ip = (struct span){ s.p + 1, end < s.n ? end - 1 : 0 };
        if (end + 1 < s.n)
            fine =
                s.p[end + 1] == ':' &&
                take_port((struct span){ s.p + end + 2, s.n - end - 2 }, &port);
    } else {
        size_t colon = span_find(s, ':');
        struct span rest = { s.p + colon + 1,
                             colon < s.n ? s.n - colon - 1 : 0 };
        if (colon < s.n && span_find(rest, ':') == rest.n) { /* one colon */
            ip = (struct span){ s.p, colon };
            fine = take_port(rest, &port);
        }
    }
    if (!fine || !addr_parse_ip(a, ip, port))
        return err_set(e, ERR_USAGE, 0,
                       "'%s' is not an address (192.0.2.1:25, [::1]:25)", text);
    return 0;
}

void addr_text(char out[ADDR_TEXT], const struct addr *a)
{
    size_t n;

    if (inet_ntop(a->u.sa.sa_family, host_bytes(a, &n), out, ADDR_TEXT) == NULL)
        snprintf(out, ADDR_TEXT, "unknown");
}

void addr_port_text(char out[ADDR_PORT_TEXT], const struct addr *a)
{
    char ip[ADDR_TEXT];

    addr_text(ip, a);
    snprintf(out, ADDR_PORT_TEXT, addr_is_v6(a) ? "[%s]:%u" : "%s:%u", ip,
             addr_port(a));
}

void addr_literal(char out[ADDR_PORT_TEXT], const struct addr *a)
{
    char ip[ADDR_TEXT];

    addr_text(ip, a);
    snprintf(out, ADDR_PORT_TEXT, "[%s%s]", addr_is_v6(a) ? "IPv6:" : "", ip);
}

static bool bits_beyond_are_zero(const struct addr *a, unsigned bits)
{
    size_t n;
    const unsigned char *p = host_bytes(a, &n);

    for (size_t i = 0; i < n; i++) {
        unsigned keep = bits >= 8 * (i + 1) ? 8
                        : bits > 8 * i      ? bits - 8 * (unsigned)i
                                            : 0;
        if (p[i] & (0xffu >> keep))
            return false;
    }
    return true;
}

int net_cidr_parse(struct net_cidr *c, const char *text, struct err *e)
{
    struct span s = span_of(text);
    size_t slash = span_find(s, '/');
    unsigned long long bits;

    if (!addr_parse_ip(&c->base, (struct span){ s.p, slash }, 0))
        return err_set(e, ERR_USAGE, 0,
                       "'%s' is not a network (192.0.2.0/24, 2001:db8::/32)",
                       text);
    unsigned max = addr_is_v6(&c->base) ? 128 : 32;
    bits = max;
    if (slash < s.n &&
        !span_u64((struct span){ s.p + slash + 1, s.n - slash - 1 }, max,
                  &bits))
        return err_set(e, ERR_USAGE, 0, "'%s': prefix is not 0 to %u", text,
                       max);
    c->bits = (unsigned)bits;
    if (!bits_beyond_are_zero(&c->base, c->bits))
        return err_set(e, ERR_USAGE, 0, "'%s' has bits set beyond its prefix",
                       text);
    return 0;
}

bool net_cidr_has(const struct net_cidr *c, const struct addr *a)
{
    size_t n, na;
    const unsigned char *p = host_bytes(&c->base, &n);
    const unsigned char *q = host_bytes(a, &na);
    size_t whole = c->bits / 8;
    unsigned rest = c->bits % 8;

    if (n != na || memcmp(p, q, whole) != 0)
        return false;
    return rest == 0 || ((p[whole] ^ q[whole]) >> (8 - rest)) == 0;
}

void addr_reverse_name(char *out, size_t size, const struct addr *a)
{
    size_t n, at = 0;
    const unsigned char *p = host_bytes(a, &n);

    out[0] = '\0';
    for (size_t i = n; i-- > 0 && at < size;)
        at += (size_t)(n == 4 ? snprintf(out + at, size - at, "%u.", p[i])
                              : snprintf(out + at, size - at, "%x.%x.",
                                         p[i] & 15u, p[i] >> 4));
    if (at < size)
        snprintf(out + at, size - at, n == 4 ? "in-addr.arpa" : "ip6.arpa");
}
