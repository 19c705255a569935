/* send/route_addresses.h - addresses of a next hop that are known without the
 * DNS, and addresses to which this system has a route.  For the sender, and for
 * `mta route`. */
#ifndef MTA_SEND_ROUTE_ADDRESSES_H
#define MTA_SEND_ROUTE_ADDRESSES_H

#include "dns/hosts.h"
#include "dns/mx.h"
#include "send/route.h"

/* An address, localhost, a socket; and of a next hop that is a setting, those
 * of the hosts file.  Returns their number; 0: ask the DNS. */
size_t route_addresses(const struct route *r, const struct dns_hosts *hosts,
                       struct addr out[MX_ADDRS_MAX]);

/* What to ask the DNS for: bits of mx_ask(). */
unsigned route_mx_want(enum route_kind kind);

/* Does the routing table know a route to it?  Sends nothing. */
bool route_is_reachable(const struct addr *a);
#endif
