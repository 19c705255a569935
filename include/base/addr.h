/* base/addr.h - addresses of peers: IPv4 and IPv6 alike, and Unix sockets.
 *
 * An IPv4-mapped IPv6 address (::ffff:1.2.3.4, as a dual-stack listener
 * reports its IPv4 clients) is always turned into plain IPv4. */
#ifndef MTA_BASE_ADDR_H
#define MTA_BASE_ADDR_H

#include "base/err.h"
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
        struct addr_unix {
            sa_family_t family; /* AF_UNIX */
            bool is_client;     /* then uid is its user, ... */
            uint32_t uid;
            const char *path; /* not owned: of a setting; ... and path that of
                               * the socket it came to, without directories */
        } local;
    } u;
};

enum { ADDR_UNIX_MAX = 107 }; /* octets of a path (unix(7)) */
enum { ADDR_TEXT = 46, ADDR_PORT_TEXT = 5 + ADDR_UNIX_MAX + 1 };

socklen_t addr_len(const struct addr *a); /* of IPv4 or IPv6 */

/* As bind() and connect(): 0, or -1 with errno. */
int addr_bind(int fd, const struct addr *a);
int addr_connect(int fd, const struct addr *a);
void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa);
void addr_from_v4(struct addr *a, const void *four_bytes, uint16_t port);
void addr_from_v6(struct addr *a, const void *sixteen_bytes, uint16_t port);
/* As IPv6 bytes, an IPv4 address mapped; what addr_from_v6() takes. */
void addr_bytes(unsigned char out[16], const struct addr *a);
/* The path must outlive all copies of the address; at most ADDR_UNIX_MAX. */
void addr_from_path(struct addr *a, const char *path);
/* A client of a Unix socket: the user it runs as, and the socket's name. */
void addr_from_uid(struct addr *a, uint32_t uid, const char *name);
bool addr_is_unix(const struct addr *a);
uint16_t addr_port(const struct addr *a); /* 0 of a Unix socket, as below */
void addr_set_port(struct addr *a, uint16_t port);
bool addr_is_v6(const struct addr *a);
/* The 4 or 16 bytes of the address, or the path; *n is their number. */
const unsigned char *addr_host_bytes(const struct addr *a, size_t *n);
bool addr_is_loopback(const struct addr *a);              /* or a Unix socket */
bool addr_is_any(const struct addr *a);                   /* 0.0.0.0 or :: */
bool addr_eq(const struct addr *a, const struct addr *b); /* with port */
bool addr_same_host(const struct addr *a, const struct addr *b);
/* An IPv6 one by its /64, a client of a Unix socket by its user. */
uint64_t addr_hash_net(const struct addr *a);
uint64_t addr_hash(const struct addr *a); /* with port */

/* "192.0.2.1" or "2001:db8::1", no brackets. */
bool addr_parse_ip(struct addr *a, struct span text, uint16_t port);

/* Without a port: "unix" for a Unix socket, "unix:submit" for a client of one;
 * with it: "unix:/path". */
void addr_text(char out[ADDR_TEXT], const struct addr *a);
void addr_port_text(char out[ADDR_PORT_TEXT], const struct addr *a);

/* As RFC 5321 4.1.3 writes it: [192.0.2.1] or [IPv6:2001:db8::1]. */
void addr_literal(char out[ADDR_PORT_TEXT], const struct addr *a);

/* "4.3.2.1.in-addr.arpa" / nibbles under ip6.arpa, into >= 80 bytes. */
void addr_reverse_name(char *out, size_t size, const struct addr *a);
#endif
