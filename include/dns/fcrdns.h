/* dns/fcrdns.h - the confirmed name of a client: PTR, then forward.
 *
 * A name is confirmed when one of its A/AAAA records is the client's address.
 * Up to 4 PTR names are tried.  Look-ups for one reverse zone (/24, IPv6: /48)
 * are limited to a few at a time; others wait for these, and when the servers
 * of the zone do not reply, all that wait get FCRDNS_TEMP. */
#ifndef MTA_DNS_FCRDNS_H
#define MTA_DNS_FCRDNS_H

#include "dns/resolver.h"

enum fcrdns_status {
    FCRDNS_OK,       /* name is confirmed */
    FCRDNS_NO_PTR,   /* no PTR record; name is empty */
    FCRDNS_MISMATCH, /* the PTR name is not confirmed; name has it */
    FCRDNS_TEMP      /* DNS fails for now; name may be the PTR or empty */
};

struct fcrdns_query;
typedef void fcrdns_fn(void *ctx, enum fcrdns_status status, const char *name);

/* The callback comes from the loop, never from inside; the query is freed
 * before it.  NULL: no memory. */
struct fcrdns_query *fcrdns_ask(struct dns *d, const struct addr *client,
                                fcrdns_fn *fn, void *ctx, struct err *e);
void fcrdns_cancel(struct fcrdns_query *q);
#endif
