/* serve/unknown.h - how many unknown recipients each client has tried.
 *
 * One table in shared memory, made before the workers fork, so that a client
 * that comes again, to this worker or another, is known.  An IPv6 client
 * counts by its /64.  Counts start anew after ten minutes.  Without a lock:
 * workers that count at the same instant may lose one, and of many clients
 * those with the fewest are forgotten first; both only make it milder. */
#ifndef MTA_SERVE_UNKNOWN_H
#define MTA_SERVE_UNKNOWN_H

#include "base/addr.h"
#include "base/err.h"

#include <stdint.h>

struct unknown_table;

int unknown_new(struct unknown_table **t, struct err *e);
void unknown_free(struct unknown_table **t); /* accepts NULL; leaves NULL */

/* One more; how many there are now. */
unsigned unknown_count(struct unknown_table *t, const struct addr *client,
                       uint64_t now_ms);
#endif
