/* base/pool.h - many objects of one size, up to a number known at start.
 *
 * Memory is taken from the system in slabs as needed and given back only by
 * pool_free(), so "at most N" is a promise about memory.  Not for threads: a
 * pool belongs to one loop. */
#ifndef MTA_BASE_POOL_H
#define MTA_BASE_POOL_H

#include <stddef.h>

struct pool;

/* Objects of `size` bytes, at most `max` at a time.  NULL: no memory. */
struct pool *pool_new(size_t size, size_t max);

/* An object with undefined content, or NULL when `max` are in use or the system
 * has no memory. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object); /* NULL is accepted */

size_t pool_used(const struct pool *p);
size_t pool_left(const struct pool *p); /* max - used */

/* Free everything, objects in use included. Accepts NULL, leaves NULL. */
void pool_free(struct pool **p);
#endif
