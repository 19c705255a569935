/* send/mx_order.h - from the answer of DNS to the order of trying.  Pure.
 *
 * A tier is a set of addresses that are used side by side: those of all
 * hosts of one preference, but of a host with both families only one, for
 * two sockets to one host would break our promise.  Its other family makes
 * the tier behind. */
#ifndef MTA_SEND_MX_ORDER_H
#define MTA_SEND_MX_ORDER_H

#include "dns/mx.h"
#include "send/delivery.h"

#include <stdbool.h>

/* Who we are: our name, and what of our addresses we listen on. */
struct self {
    const char *hostname;
    size_t n;
    const struct addr *addr; /* with ports */
};

struct tier_entry {
    struct addr addr; /* with port */
    const char *name; /* in the mx_result */
    uint8_t tier, host;
};

enum { TIER_ENTRIES_MAX = MX_HOSTS_MAX * MX_ADDRS_MAX };

struct tier_rules {
    const struct self *self;
    bool mind_self; /* mail routed by MX must not come back to us */
    uint16_t port;
    bool (*reachable)(const struct addr *a); /* is there a route to it? */
};

/* Fills at most TIER_ENTRIES_MAX entries, best first; returns how many.  With
 * 0, *why says what becomes of the mail: VERDICT_FAILED or _DEFERRED. */
size_t tiers_build(struct tier_entry *out, const struct mx_result *mx,
                   const struct tier_rules *rules, struct answer *why);
#endif
