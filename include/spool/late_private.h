/* spool/late_private.h - the late fields of a record that is being written.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_LATE_PRIVATE_H
#define MTA_SPOOL_LATE_PRIVATE_H

#include "spool/gather_write_private.h"
#include "spool/writer.h"

/* The late fields in their order: front fields, those of the message that this
 * is a copy of, internal fields. */
struct spool_late_parts {
    const struct spool_late *late; /* NULL: none */
    struct span kept;
};

/* Set the sizes and the CRC in *r; -1 with *e: they are too long. */
int spool_late_measure(struct spool_record *r, const struct spool_late_parts *p,
                       struct err *e);
/* As spool_gather_add(). */
int spool_late_gather(struct spool_gather *k, const struct spool_late_parts *p);
#endif
