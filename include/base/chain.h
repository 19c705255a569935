/* base/chain.h - bytes in blocks of one size from a pool.
 *
 * The one structure that grows with a peer's input: block by block, and no
 * further than the pool.  An empty chain holds no block.  All chains of one
 * loop share one pool; blocks have CHAIN_BLOCK bytes with their header, so
 * CHAIN_DATA bytes of content. */
#ifndef MTA_BASE_CHAIN_H
#define MTA_BASE_CHAIN_H

#include "base/pool.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct chain_block {
    struct chain_block *next;
    uint32_t from, to; /* the content is data[from .. to) */
    char data[];
};

enum {
    CHAIN_BLOCK = 4096,
    CHAIN_DATA = CHAIN_BLOCK - (int)sizeof(struct chain_block)
};

struct chain {
    struct chain_block *head, *tail;
    size_t n; /* bytes of content */
};

#define CHAIN_INIT                                                             \
    {                                                                          \
        NULL, NULL, 0                                                          \
    }

/* The pool for chains: at most max_blocks blocks. */
struct pool *chain_pool_new(size_t max_blocks);
/* Or as many as the bound allows. */
struct pool *chain_pool_new_bound(struct pool_bound *b);

/* All or nothing: false, with the chain unchanged, when the pool is empty. */
bool chain_add(struct chain *c, struct pool *p, const void *data, size_t n);

/* Move all of `more` behind the end of c; `more` is empty then. */
void chain_join(struct chain *c, struct chain *more);

/* Drop n bytes (at most c->n) from the front; emptied blocks go back. */
void chain_drop(struct chain *c, struct pool *p, size_t n);
void chain_clear(struct chain *c, struct pool *p);

/* Copy up to n bytes from offset `at`; returns how many there were. */
size_t chain_copy(const struct chain *c, size_t at, void *dst, size_t n);

/* Describe the content from offset `at` in at most max vectors; returns how
 * many were filled. */
int chain_iov(const struct chain *c, size_t at, struct iovec *v, int max);
#endif
