/* serve/clients.h - counts over all workers: clients per address, and memory
 * for message bodies.
 *
 * A table in shared memory with a row for each worker.  Only that worker writes
 * its row, so there is no lock; the master clears the row of a worker that
 * died.  Addresses are counted by hash, IPv6 by the /64 that one subscriber
 * has.  Two addresses that collide share a count, which matters only near the
 * limit. */
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

/* Called by the master when a worker starts, retires, has ended. */
void clients_open_row(struct clients *c, unsigned row);
void clients_retire_row(struct clients *c, unsigned row);
void clients_clear_row(struct clients *c, unsigned row);

/* Does the worker accept new clients? */
bool clients_takes(const struct clients *c, unsigned row);

void clients_add(struct clients *c, unsigned row, const struct addr *a);
void clients_remove(struct clients *c, unsigned row, const struct addr *a);
unsigned clients_of(const struct clients *c, const struct addr *a);

/* Reserve bytes for message bodies of the worker of that row.  False, with
 * nothing reserved, when all workers together would exceed `max`.  Workers that
 * reserve at the same instant may exceed it by their own request each. */
bool clients_take_memory(struct clients *c, unsigned row, size_t bytes,
                         size_t max);
void clients_give_memory(struct clients *c, unsigned row, size_t bytes);

/* Does a worker accept new clients and have fewer than `max`? */
bool clients_room(const struct clients *c, unsigned max);
#endif
