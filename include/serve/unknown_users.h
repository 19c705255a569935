/* serve/unknown_users.h - counts the unknown recipients that each client has
 * tried.
 *
 * One table in shared memory, made before the workers fork, so that counts hold
 * across sessions and workers.  An IPv6 client counts by its /64.  Counts
 * restart after ten minutes.  There is no lock: workers that count at the same
 * instant may lose one, and a full table drops the clients with the lowest
 * counts first; both only make the limit milder. */
#ifndef MTA_SERVE_UNKNOWN_USERS_H
#define MTA_SERVE_UNKNOWN_USERS_H

#include "base/addr.h"
#include "base/err.h"

#include <stdint.h>

struct unknown_table;

int unknown_new(struct unknown_table **t, struct err *e);
void unknown_free(struct unknown_table **t); /* accepts NULL; leaves NULL */

/* Count one more; returns the count. */
unsigned unknown_count(struct unknown_table *t, const struct addr *client,
                       uint64_t now_ms);
#endif
