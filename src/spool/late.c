#include "spool/late_private.h"

#include "base/crc32c.h"

int spool_late_measure(struct spool_record *r, const struct spool_late_parts *p,
                       struct err *e)
{
    const struct spool_late *l = p->late;
    size_t front = p->kept.n + (l != NULL ? l->front.n : 0);
    size_t size = front + (l != NULL ? l->fields.n : 0);
    uint32_t crc = 0;

    if (size > SPOOL_LATE_MAX)
        return err_set(e, ERR_TEMP, 0, "add late fields of %zu octets", size);
    if (l != NULL)
        crc = spool_chain_crc(crc, &l->front);
    crc = crc32c(crc, p->kept.p, p->kept.n);
    if (l != NULL)
        crc = spool_chain_crc(crc, &l->fields);
    r->late_size = (uint32_t)size;
    r->front = (uint32_t)front;
    r->late_crc = crc;
    return 0;
}

int spool_late_gather(struct spool_gather *k, const struct spool_late_parts *p)
{
    const struct spool_late *l = p->late;

    return (l != NULL && spool_gather_chain(k, &l->front) != 0) ||
                   spool_gather_add(k, p->kept.p, p->kept.n) != 0 ||
                   (l != NULL && spool_gather_chain(k, &l->fields) != 0)
               ? -1
               : 0;
}
