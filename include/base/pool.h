/* base/pool.h - many objects of one size, up to a number known at start.
 *
 * Memory is taken from the system in slabs as it is needed, so "at most N" is
 * a promise about memory.  Not for threads: a pool belongs to one loop. */
#ifndef MTA_BASE_POOL_H
#define MTA_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct pool;

/* Objects of `size` bytes, at most `max` at a time; slabs are given back only
 * by pool_free().  NULL: no memory. */
struct pool *pool_new(size_t size, size_t max);

/* A bound that several pools share, of other processes too: they ask before
 * they take a slab, and report when they have given one back. */
struct pool_bound {
    bool (*take)(struct pool_bound *b, size_t bytes); /* false: not now */
    void (*give)(struct pool_bound *b, size_t bytes);
};

/* Objects of at most POOL_SLAB / 2 bytes; as many as the bound allows, which
 * must outlive the pool.  NULL: no memory. */
enum { POOL_SLAB = 64 * 1024 };
struct pool *pool_new_bound(size_t size, struct pool_bound *b);

/* Give back the slabs that nothing was in since the last trim: a load that
 * comes in waves keeps its slabs, an idle pool holds none after two trims.
 * True: it holds some yet.  For a pool with a bound alone. */
bool pool_trim(struct pool *p);

/* An object with undefined content, or NULL when `max` are out, when the
 * bound is reached or the system has no memory. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object); /* NULL is accepted */

size_t pool_used(const struct pool *p);
size_t pool_left(const struct pool *p); /* max - used; with a bound: many */

/* Free everything, objects in use included.  Accepts NULL, leaves NULL. */
void pool_free(struct pool **p);
#endif
