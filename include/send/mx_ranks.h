/* send/mx_ranks.h - from a DNS answer to the order in which addresses are tried
 * (RFC 5321 5.1).  Pure.
 *
 * A rank is a set of addresses that are used side by side: those of all hosts
 * of one preference.  Of a host with both families only one address is in the
 * rank, because two sockets to one host would break design promise 4; the other
 * family makes the next rank. */
#ifndef MTA_SEND_MX_RANKS_H
#define MTA_SEND_MX_RANKS_H

#include "dns/mx.h"
#include "queue/delivery.h"
#include "send/own_host.h"

#include <stdbool.h>

struct mx_candidate {
    struct addr addr; /* with port */
    const char *name; /* in the mx_result */
    uint8_t rank, host;
};

enum { MX_CANDIDATES_MAX = MX_HOSTS_MAX * MX_ADDRS_MAX };

struct mx_ranks_rules {
    const struct own_host *self;
    bool configured; /* the next hop is a setting */
    uint16_t port;
    bool (*reachable)(const struct addr *a); /* does the routing table know a
                                              * route to it? */
};

/* Fills at most MX_CANDIDATES_MAX entries, best first; returns their number.
 * With 0, *why is the outcome for the mail: OUTCOME_FAILED or OUTCOME_DEFERRED.
 */
size_t mx_ranks_build(struct mx_candidate *out, const struct mx_result *mx,
                      const struct mx_ranks_rules *rules, struct answer *why);

/* The outcome when the best host that is left is this system. */
void mx_ranks_looped(struct answer *why, const struct own_host *self,
                     bool configured);
#endif
