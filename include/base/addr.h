/* base/addr.h - addresses of hosts and networks, IPv4 and IPv6 alike, and the
 * text host:port.
 *
 * An IPv4-mapped IPv6 address (::ffff:1.2.3.4, as a dual-stack listener
 * reports its IPv4 clients) is always turned into plain IPv4. */
#ifndef MTA_BASE_ADDR_H
#define MTA_BASE_ADDR_H

#include "base/err.h"
#include "base/idn.h"
#include "base/span.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u;
};

struct net_cidr {
    struct addr base;
    unsigned bits;
};

/* A host and, perhaps, a port, as settings and flags write them. */
struct host_port {
    char host[IDN_MAX]; /* in its one form (base/idn.h); "": none */
    uint16_t port;      /* 0: none was given */
    bool bracketed;     /* [host]: no look-up of the MX of this name */
    bool numeric;       /* host is an address: addr, with the port */
    struct addr addr;
};

enum { ADDR_TEXT = 46, ADDR_PORT_TEXT = 56, HOST_PORT_TEXT = IDN_MAX + 8 };

socklen_t addr_len(const struct addr *a);
void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa);
void addr_from_v4(struct addr *a, const void *four_bytes, uint16_t port);
void addr_from_v6(struct addr *a, const void *sixteen_bytes, uint16_t port);
/* As IPv6 bytes, an IPv4 address mapped; what addr_from_v6() takes. */
void addr_bytes(unsigned char out[16], const struct addr *a);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_is_v6(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
bool addr_is_any(const struct addr *a);                   /* 0.0.0.0 or :: */
bool addr_eq(const struct addr *a, const struct addr *b); /* with port */
bool addr_same_host(const struct addr *a, const struct addr *b);
uint64_t addr_hash_net(const struct addr *a); /* an IPv6 one by its /64 */
uint64_t addr_hash(const struct addr *a);     /* with port */

/* "192.0.2.1" or "2001:db8::1", no brackets. */
bool addr_parse_ip(struct addr *a, struct span text, uint16_t port);

/* The one parser of host:port: "host", "host:25", "[host]:25", "192.0.2.1:25",
 * "[2001:db8::1]:25", "[IPv6:::1]", "2001:db8::1".  Never asks DNS. */
int host_port_parse(struct host_port *h, struct span text, struct err *e);
void host_port_text(char out[HOST_PORT_TEXT], const struct host_port *h);

/* The same for addresses alone; without a port: default_port. */
int addr_parse(struct addr *a, struct span text, uint16_t default_port,
               struct err *e);
void addr_text(char out[ADDR_TEXT], const struct addr *a);
void addr_port_text(char out[ADDR_PORT_TEXT], const struct addr *a);

/* As RFC 5321 4.1.3 writes it: [192.0.2.1] or [IPv6:2001:db8::1]. */
void addr_literal(char out[ADDR_PORT_TEXT], const struct addr *a);

/* "10.0.0.0/8", "::1/128", or an address alone. Bits beyond the prefix must
 * be zero. */
int net_cidr_parse(struct net_cidr *c, struct span text, struct err *e);
void net_cidr_text(char out[ADDR_PORT_TEXT], const struct net_cidr *c);
bool net_cidr_has(const struct net_cidr *c, const struct addr *a);

/* "4.3.2.1.in-addr.arpa" / nibbles under ip6.arpa, into >= 80 bytes. */
void addr_reverse_name(char *out, size_t size, const struct addr *a);
#endif
