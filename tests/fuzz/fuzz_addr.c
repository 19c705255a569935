/* fuzz_addr.c - addresses of hosts and networks as text, against inet_pton()
 * and a comparison bit by bit. */
#include "base/host_port.h"
#include "base/network.h"
#include "fuzz.h"

#include "base/addr.h"

#include <arpa/inet.h>

/* What the C library makes of it; an IPv4-mapped address is IPv4. */
static bool other_opinion(unsigned char out[16], bool *v6, const char *text)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

    *v6 = false;
    if (inet_pton(AF_INET, text, out) == 1)
        return true;
    if (inet_pton(AF_INET6, text, out) != 1)
        return false;
    if (memcmp(out, mapped, sizeof mapped) == 0)
        memmove(out, out + 12, 4);
    else
        *v6 = true;
    return true;
}

static const unsigned char *bytes_of(const struct addr *a)
{
    return addr_is_v6(a) ? (const unsigned char *)&a->u.in6.sin6_addr
                         : (const unsigned char *)&a->u.in.sin_addr;
}

static void round_trip(const struct addr *a)
{
    char text[ADDR_TEXT], with_port[ADDR_PORT_TEXT], literal[ADDR_PORT_TEXT];
    char name[80];
    struct addr again;
    struct err e;

    addr_text(text, a);
    MUST(addr_parse_ip(&again, span_of(text), addr_port(a)));
    MUST(addr_eq(a, &again) && addr_hash(a) == addr_hash(&again));
    addr_port_text(with_port, a);
    MUST(addr_parse(&again, span_of(with_port), 0, &e) == 0 ||
         addr_port(a) == 0);
    MUST(addr_port(a) == 0 || addr_eq(a, &again));
    addr_literal(literal, a);
    MUST(literal[0] == '[' && literal[strlen(literal) - 1] == ']');
    addr_reverse_name(name, sizeof name, a);
    MUST(strlen(name) < sizeof name - 1);
}

static void as_ip(const char *text, size_t n)
{
    unsigned char want[16];
    struct addr a;
    bool v6;

    bool ok = addr_parse_ip(&a, (struct span){ text, n }, 25);
    if (strlen(text) == n) {
        MUST(ok == other_opinion(want, &v6, text));
        MUST(!ok || addr_is_v6(&a) == v6);
        MUST(!ok || memcmp(bytes_of(&a), want, v6 ? 16 : 4) == 0);
    } else {
        MUST(!ok);
    }
    if (ok)
        round_trip(&a);
}

static bool same_bits(const unsigned char *a, const unsigned char *b,
                      unsigned bits)
{
    for (unsigned i = 0; i < bits; i++)
        if (((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1) != 0)
            return false;
    return true;
}

/* The first octets of the input are the host that may be inside. */
static void as_network(const char *text, const uint8_t *host)
{
    struct net_cidr c;
    struct addr a, flipped;
    struct err e;

    if (net_cidr_parse(&c, span_of(text), &e) != 0)
        return;
    MUST(c.bits <= (addr_is_v6(&c.base) ? 128 : 32));
    MUST(net_cidr_has(&c, &c.base));
    for (int v6 = 0; v6 < 2; v6++) {
        if (v6)
            addr_from_v6(&a, host, 1);
        else
            addr_from_v4(&a, host, 1);
        MUST(net_cidr_has(&c, &a) ==
             (addr_is_v6(&a) == addr_is_v6(&c.base) &&
              same_bits(bytes_of(&a), bytes_of(&c.base), c.bits)));
    }
    if (c.bits == 0)
        return;
    flipped = c.base;
    ((unsigned char *)(uintptr_t)bytes_of(&flipped))[(c.bits - 1) / 8] ^=
        (unsigned char)(0x80 >> (c.bits - 1) % 8);
    MUST(!net_cidr_has(&c, &flipped));
}

/* What is accepted is written in one form, which is read as the same. */
static void as_host(const char *text)
{
    struct host_port h, again;
    char one[HOST_PORT_TEXT], two[HOST_PORT_TEXT];
    struct err e;

    if (host_port_parse(&h, span_of(text), &e) != 0)
        return;
    host_port_text(one, &h);
    MUST(h.host[0] != '\0' && host_port_parse(&again, span_of(one), &e) == 0);
    host_port_text(two, &again);
    MUST(strcmp(one, two) == 0 && again.numeric == h.numeric &&
         again.bracketed == h.bracketed && again.port == h.port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct addr a;
    struct err e;

    if (n < 16)
        return 0;
    char *text = malloc(n - 15);
    MUST(text != NULL);
    memcpy(text, data + 16, n - 16);
    text[n - 16] = '\0';
    as_ip(text, n - 16);
    as_network(text, data);
    if (addr_parse(&a, span_of(text), 25, &e) == 0)
        round_trip(&a);
    as_host(text);
    free(text);
    return 0;
}
