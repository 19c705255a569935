/* serve/clients.h - what all workers together have of clients: how many of
 * each address, and how much memory for their messages.
 *
 * A table in shared memory with a row for each worker; only that worker
 * writes its row, so there is no lock, and the master clears the row of a
 * worker that died.  Addresses are counted by hash, those of IPv6 by their
 * /64, which is what one subscriber has: two that collide share a count, which
 * matters only near the limit. */
#ifndef MTA_SERVE_CLIENTS_H
#define MTA_SERVE_CLIENTS_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct clients;

/* One table for `rows` workers; shared with children forked later. */
int clients_new(struct clients **c, unsigned rows, struct err *e);
void clients_free(struct clients **c);

/* Of the master: a worker begins; takes no new clients; is gone. */
void clients_open_row(struct clients *c, unsigned row);
void clients_retire_row(struct clients *c, unsigned row);
void clients_clear_row(struct clients *c, unsigned row);

/* May the worker take new clients? */
bool clients_takes(const struct clients *c, unsigned row);

void clients_add(struct clients *c, unsigned row, const struct addr *a);
void clients_remove(struct clients *c, unsigned row, const struct addr *a);
unsigned clients_of(const struct clients *c, const struct addr *a);

/* The worker of that row takes so many bytes for the bodies of messages.
 * False, and nothing is taken, when all workers together would have more than
 * `max`.  Several at the same moment may pass it by what each of them takes. */
bool clients_take_memory(struct clients *c, unsigned row, size_t bytes,
                         size_t max);
void clients_give_memory(struct clients *c, unsigned row, size_t bytes);

/* Is there a worker that takes new clients and has fewer than `max`? */
bool clients_room(const struct clients *c, unsigned max);
#endif
