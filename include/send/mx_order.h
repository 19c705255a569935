/* send/mx_order.h - from the answer of DNS to the order of trying.  Pure.
 *
 * A rank is a set of addresses that are used side by side: those of all
 * hosts of one preference, but of a host with both families only one, for
 * two sockets to one host would break our promise.  Its other family makes
 * the rank behind. */
#ifndef MTA_SEND_MX_ORDER_H
#define MTA_SEND_MX_ORDER_H

#include "dns/mx.h"
#include "send/delivery.h"

#include <stdbool.h>

/* Who we are: our name, and what of our addresses we listen on. */
struct own_host {
    const char *hostname;
    size_t n;
    const struct addr *addr; /* with ports */
};

struct mx_candidate {
    struct addr addr; /* with port */
    const char *name; /* in the mx_result */
    uint8_t rank, host;
};

enum { MX_CANDIDATES_MAX = MX_HOSTS_MAX * MX_ADDRS_MAX };

struct mx_order_rules {
    const struct own_host *self;
    bool refuse_loops; /* mail routed by MX must not come back to us */
    uint16_t port;
    bool (*reachable)(const struct addr *a); /* is there a route to it? */
};

/* Fills at most MX_CANDIDATES_MAX entries, best first; returns how many.  With
 * 0, *why says what becomes of the mail: OUTCOME_FAILED or _DEFERRED. */
size_t mx_order_build(struct mx_candidate *out, const struct mx_result *mx,
                      const struct mx_order_rules *rules, struct answer *why);
#endif
