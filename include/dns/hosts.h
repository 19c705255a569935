/* dns/hosts.h - the hosts file (hosts(5)): addresses of names that the DNS may
 * not have, as of a container's `extra_hosts`.
 *
 * Only next hops that are settings are looked for in it.  The text is kept and
 * searched line by line at each look-up, so lines and names may be as many and
 * as long as the file's size allows; nothing else is allocated. */
#ifndef MTA_DNS_HOSTS_H
#define MTA_DNS_HOSTS_H

#include "base/addr.h"
#include "base/err.h"

#include <stddef.h>

#define DNS_HOSTS_FILE "/etc/hosts"

struct dns_hosts {
    char *text; /* owned; NULL: no file */
    size_t n;
};

/* Read the file (base/handdown.h); a missing one is empty.  -1 with *e: *h is
 * unchanged. */
int dns_hosts_load(struct dns_hosts *h, const char *path, struct err *e);
void dns_hosts_free(struct dns_hosts *h);

/* The first `max` different addresses of the name (A-labels, no dot at the
 * end), with port 0; 0: it is not in the file.  A line that does not begin
 * with an address is skipped. */
size_t dns_hosts_find(const struct dns_hosts *h, const char *name,
                      struct addr *out, size_t max);
#endif
