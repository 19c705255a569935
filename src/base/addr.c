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

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0,    0,
                                          0, 0, 0, 0, 0xff, 0xff };

void addr_bytes(unsigned char out[16], const struct addr *a)
{
    if (addr_is_v6(a)) {
        memcpy(out, &a->u.in6.sin6_addr, 16);
    } else {
        memcpy(out, mapped, sizeof mapped);
        memcpy(out + sizeof mapped, &a->u.in.sin_addr, 4);
    }
}

void addr_from_v6(struct addr *a, const void *sixteen_bytes, uint16_t port)
{
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

bool addr_is_any(const struct addr *a)
{
    static const unsigned char zero[16];

    return addr_is_v6(a) ? memcmp(&a->u.in6.sin6_addr, zero, 16) == 0
                         : a->u.in.sin_addr.s_addr == 0;
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

/* Long texts leave room for what is wrong with them. */
static int clipped(struct span s)
{
    return s.n > 100 ? 100 : (int)s.n;
}

static int take_port(uint16_t *port, struct span text, struct span whole,
                     struct err *e)
{
    unsigned long long v;

    if (!span_u64(text, 65535, &v) || v == 0)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s': port '%.*s' is not a number from 1 to 65535",
                       clipped(whole), whole.p, clipped(text), text.p);
    *port = (uint16_t)v;
    return 0;
}

static bool is_number(struct span s)
{
    unsigned long long v;

    return span_u64(s, ~0ull, &v);
}

/* What ends in a number was meant to be an address, as 192.0.2.256 was. */
static bool ends_in_number(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && is_number(span_of(dot + 1));
}

static int take_host(struct host_port *h, struct span host, struct span whole,
                     struct err *e)
{
    struct span ip = host;
    char text[ADDR_TEXT];

    if (h->bracketed && span_starts_nocase(ip, "IPv6:"))
        ip = (struct span){ ip.p + 5, ip.n - 5 };
    if (addr_parse_ip(&h->addr, ip, h->port)) {
        addr_text(text, &h->addr);
        span_copy(h->host, sizeof h->host, span_of(text));
        h->numeric = true;
        h->bracketed = false; /* an address has no MX anyway */
        return 0;
    }
    const char *fault = idn_normal(h->host, host);
    if (fault == NULL && ends_in_number(h->host))
        fault = "is not an address";
    if (fault != NULL)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s': host '%.*s' %s (write host:25, [host]:25,"
                       " 192.0.2.1:25 or [::1]:25)",
                       clipped(whole), whole.p, clipped(host), host.p, fault);
    return 0;
}

/* Cut at the colon of the port: *host without brackets, *port what is behind
 * it; port->p NULL: there is none. */
static const char *cut(struct host_port *h, struct span s, struct span *host,
                       struct span *port)
{
    size_t end = span_find(s, ']');

    h->bracketed = s.n > 0 && s.p[0] == '[';
    *port = (struct span){ NULL, 0 };
    if (h->bracketed && end == s.n)
        return "has a [ without a ], as in [::1]:25";
    if (!h->bracketed) {
        struct addr any;
        end = addr_parse_ip(&any, s, 0) ? s.n : span_find(s, ':');
    }
    *host = h->bracketed ? (struct span){ s.p + 1, end - 1 }
                         : (struct span){ s.p, end };
    struct span rest = { s.p + end, s.n - end };
    if (h->bracketed)
        rest = (struct span){ rest.p + 1, rest.n - 1 };
    if (rest.n == 0)
        return NULL;
    *port = (struct span){ rest.p + 1, rest.n - 1 };
    if (rest.p[0] != ':')
        return "has something behind the ]; a port is written [host]:25";
    if (!h->bracketed && span_find(*port, ':') < port->n)
        return "is not an IPv6 address; with a port it is written [::1]:25";
    return NULL;
}

int host_port_parse(struct host_port *h, struct span text, struct err *e)
{
    struct span host, port;

    memset(h, 0, sizeof *h);
    const char *fault = cut(h, text, &host, &port);
    if (fault != NULL)
        return err_set(e, ERR_USAGE, 0, "'%.*s' %s", clipped(text), text.p,
                       fault);
    if (port.p != NULL && take_port(&h->port, port, text, e) != 0)
        return -1;
    return take_host(h, host, text, e);
}

void host_port_text(char out[HOST_PORT_TEXT], const struct host_port *h)
{
    bool brackets = h->bracketed || (h->numeric && addr_is_v6(&h->addr));
    int n = snprintf(out, HOST_PORT_TEXT, brackets ? "[%s]" : "%s", h->host);

    if (h->port != 0)
        snprintf(out + n, HOST_PORT_TEXT - (size_t)n, ":%u", h->port);
}

int addr_parse(struct addr *a, struct span text, uint16_t default_port,
               struct err *e)
{
    struct host_port h;

    if (host_port_parse(&h, text, e) != 0)
        return -1;
    if (!h.numeric)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not an address (192.0.2.1:25, [::1]:25)",
                       clipped(text), text.p);
    *a = h.addr;
    if (h.port == 0)
        addr_set_port(a, default_port);
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

int net_cidr_parse(struct net_cidr *c, struct span s, struct err *e)
{
    size_t slash = span_find(s, '/');
    unsigned long long bits;

    if (!addr_parse_ip(&c->base, (struct span){ s.p, slash }, 0))
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not a network (192.0.2.0/24, 2001:db8::/32)",
                       clipped(s), s.p);
    unsigned max = addr_is_v6(&c->base) ? 128 : 32;
    bits = max;
    if (slash < s.n &&
        !span_u64((struct span){ s.p + slash + 1, s.n - slash - 1 }, max,
                  &bits))
        return err_set(e, ERR_USAGE, 0, "'%.*s': prefix is not 0 to %u",
                       clipped(s), s.p, max);
    c->bits = (unsigned)bits;
    if (!bits_beyond_are_zero(&c->base, c->bits))
        return err_set(e, ERR_USAGE, 0, "'%.*s' has bits set beyond its prefix",
                       clipped(s), s.p);
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
