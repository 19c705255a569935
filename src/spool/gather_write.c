/* gather_write.c - write chains to the file without a copy. */
#include "spool/gather_write_private.h"

#include "base/crc32c.h"
#include "base/fs.h"

static const char zeros[4096];

int spool_gather_flush(struct spool_gather *k)
{
    int n = k->n;

    k->n = 0;
    if (n > 0 && fs_pwritev_all(k->fd, k->v, n, (off_t)k->at) != 0)
        return -1;
    k->at += k->bytes;
    k->bytes = 0;
    return 0;
}

int spool_gather_add(struct spool_gather *k, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    if (k->n == SPOOL_VECTORS && spool_gather_flush(k) != 0)
        return -1;
    k->v[k->n].iov_base = (void *)(uintptr_t)p;
    k->v[k->n++].iov_len = n;
    k->bytes += n;
    return 0;
}

int spool_gather_zeros(struct spool_gather *k, uint64_t n)
{
    while (n > 0) {
        size_t part = n < sizeof zeros ? (size_t)n : sizeof zeros;
        if (spool_gather_add(k, zeros, part) != 0)
            return -1;
        n -= part;
    }
    return 0;
}

int spool_gather_chain(struct spool_gather *k, const struct chain *c)
{
    for (const struct chain_block *b = c->head; b != NULL; b = b->next)
        if (spool_gather_add(k, b->data + b->from, b->to - b->from) != 0)
            return -1;
    return 0;
}

uint32_t spool_chain_crc(uint32_t crc, const struct chain *c)
{
    for (const struct chain_block *b = c->head; b != NULL; b = b->next)
        crc = crc32c(crc, b->data + b->from, b->to - b->from);
    return crc;
}
