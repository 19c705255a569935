/* dns/servers.h - the recursive servers, and the choice of the next.
 *
 * For the resolver alone. */
#ifndef MTA_DNS_SERVERS_H
#define MTA_DNS_SERVERS_H

#include "dns/resolver.h"

struct dns_server {
    struct addr addr;
    uint64_t last_until; /* ms; until then tried after the others */
};

struct dns_servers {
    size_t n; /* at least 1 */
    struct dns_server s[DNS_SERVERS_MAX];
};

/* Use the given servers; none: those of resolv.conf; none there, or no such
 * file: 127.0.0.1.  Servers beyond DNS_SERVERS_MAX are ignored. */
int dns_servers_set(struct dns_servers *s, const struct addr *given, size_t n,
                    struct err *e);

/* Read the `nameserver` lines of a file; words that are not addresses are
 * ignored.  0, also without any; -1 with *e when the file cannot be read. */
int dns_servers_read(struct dns_servers *s, const char *path, struct err *e);

/* Both masks have a bit for each server.  Never one of `spent`; one of
 * `tried` only when all others are spent or tried too.  s->n: all spent. */
size_t dns_servers_pick(const struct dns_servers *s, unsigned spent,
                        unsigned tried, uint64_t now);
#endif
