#include "base/addr.h"

#include "base/map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

socklen_t addr_len(const struct addr *a)
{
    return addr_is_v6(a) ? (socklen_t)sizeof a->u.in6
                         : (socklen_t)sizeof a->u.in;
}

/* The length; 0, with errno: the path of a Unix socket is too long. */
static socklen_t fill(struct sockaddr_storage *out, const struct addr *a)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (!addr_is_unix(a)) {
        memcpy(out, &a->u, addr_len(a));
        return addr_len(a);
    }
    if (!span_copy(un.sun_path, sizeof un.sun_path, span_of(a->u.local.path))) {
        errno = ENAMETOOLONG;
        return 0;
    }
    memcpy(out, &un, sizeof un);
    return sizeof un;
}

int addr_bind(int fd, const struct addr *a)
{
    struct sockaddr_storage to;
    socklen_t n = fill(&to, a);

    return n == 0 ? -1 : bind(fd, (const struct sockaddr *)&to, n);
}

int addr_connect(int fd, const struct addr *a)
{
    struct sockaddr_storage to;
    socklen_t n = fill(&to, a);

    return n == 0 ? -1 : connect(fd, (const struct sockaddr *)&to, n);
}

void addr_from_path(struct addr *a, const char *path)
{
    memset(a, 0, sizeof *a);
    a->u.local.family = AF_UNIX;
    a->u.local.path = path;
}

void addr_from_uid(struct addr *a, uint32_t uid, const char *name)
{
    addr_from_path(a, name);
    a->u.local.is_client = true;
    a->u.local.uid = uid;
}

bool addr_is_unix(const struct addr *a)
{
    return a->u.sa.sa_family == AF_UNIX;
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
    if (addr_is_unix(a)) {
        memset(out, 0, 16);
    } else if (addr_is_v6(a)) {
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
    if (addr_is_unix(a))
        return 0;
    return ntohs(addr_is_v6(a) ? a->u.in6.sin6_port : a->u.in.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (addr_is_v6(a))
        a->u.in6.sin6_port = htons(port);
    else if (!addr_is_unix(a))
        a->u.in.sin_port = htons(port);
}

const unsigned char *addr_host_bytes(const struct addr *a, size_t *n)
{
    if (addr_is_unix(a)) {
        *n = strlen(a->u.local.path);
        return (const unsigned char *)a->u.local.path;
    }
    *n = addr_is_v6(a) ? 16 : 4;
    return addr_is_v6(a) ? (const unsigned char *)&a->u.in6.sin6_addr
                         : (const unsigned char *)&a->u.in.sin_addr;
}

bool addr_is_any(const struct addr *a)
{
    static const unsigned char zero[16];

    if (addr_is_v6(a))
        return memcmp(&a->u.in6.sin6_addr, zero, 16) == 0;
    return !addr_is_unix(a) && a->u.in.sin_addr.s_addr == 0;
}

bool addr_is_loopback(const struct addr *a)
{
    size_t n;

    if (addr_is_unix(a))
        return true;
    return addr_is_v6(a) ? IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr)
                         : addr_host_bytes(a, &n)[0] == 127;
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
    size_t na, nb;
    const unsigned char *pa = addr_host_bytes(a, &na),
                        *pb = addr_host_bytes(b, &nb);

    return a->u.sa.sa_family == b->u.sa.sa_family && na == nb &&
           memcmp(pa, pb, na) == 0 &&
           (!addr_is_v6(a) || a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_port(a) == addr_port(b) && addr_same_host(a, b);
}

uint64_t addr_hash_net(const struct addr *a)
{
    size_t n;
    const unsigned char *p = addr_host_bytes(a, &n);

    if (addr_is_unix(a) && a->u.local.is_client)
        return map_hash(&a->u.local.uid, sizeof a->u.local.uid);
    return map_hash(p, n == 16 ? 8 : n);
}

uint64_t addr_hash(const struct addr *a)
{
    unsigned char key[18];
    size_t n;
    const unsigned char *p = addr_host_bytes(a, &n);
    uint16_t port = addr_port(a);

    if (addr_is_unix(a))
        return map_hash(p, n);
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

void addr_text(char out[ADDR_TEXT], const struct addr *a)
{
    size_t n;

    if (addr_is_unix(a))
        snprintf(out, ADDR_TEXT, a->u.local.is_client ? "unix:%.40s" : "unix",
                 a->u.local.path);
    else if (inet_ntop(a->u.sa.sa_family, addr_host_bytes(a, &n), out,
                       ADDR_TEXT) == NULL)
        snprintf(out, ADDR_TEXT, "unknown");
}

void addr_port_text(char out[ADDR_PORT_TEXT], const struct addr *a)
{
    char ip[ADDR_TEXT];

    if (addr_is_unix(a)) {
        snprintf(out, ADDR_PORT_TEXT, "unix:%.*s", ADDR_UNIX_MAX,
                 a->u.local.path);
        return;
    }
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

void addr_reverse_name(char *out, size_t size, const struct addr *a)
{
    size_t n, at = 0;
    const unsigned char *p = addr_host_bytes(a, &n);

    out[0] = '\0';
    for (size_t i = n; i-- > 0 && at < size;)
        at += (size_t)(n == 4 ? snprintf(out + at, size - at, "%u.", p[i])
                              : snprintf(out + at, size - at, "%x.%x.",
                                         p[i] & 15u, p[i] >> 4));
    if (at < size)
        snprintf(out + at, size - at, n == 4 ? "in-addr.arpa" : "ip6.arpa");
}
