/* spool/gather_write_private.h - collect pieces and write them in as few
 * calls as possible.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_GATHER_WRITE_PRIVATE_H
#define MTA_SPOOL_GATHER_WRITE_PRIVATE_H

#include "base/chain.h"

#include <stdint.h>
#include <sys/uio.h>

enum { SPOOL_VECTORS = 1024 }; /* IOV_MAX of Linux */

struct spool_gather {
    int fd;
    uint64_t at; /* where v[0] goes */
    size_t bytes;
    int n;
    struct iovec *v; /* SPOOL_VECTORS of them */
};

/* 0, or -1 with errno. */
int spool_gather_add(struct spool_gather *k, const void *p, size_t n);
int spool_gather_zeros(struct spool_gather *k, uint64_t n);
int spool_gather_chain(struct spool_gather *k, const struct chain *c);
int spool_gather_flush(struct spool_gather *k);

uint32_t spool_chain_crc(uint32_t crc, const struct chain *c);
#endif
