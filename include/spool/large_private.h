/* spool/large_private.h - the steps of a commit that concern large segments.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_LARGE_PRIVATE_H
#define MTA_SPOOL_LARGE_PRIVATE_H

#include "spool/large.h"
#include "spool/late_private.h"

/* As spool_large_finish(). */
int spool_large_end(struct spool_writer *w, struct spool_large **s,
                    const struct spool_late_parts *late, struct err *e);

int spool_larges_sync(struct spool_writer *w, struct err *e);
int spool_larges_rename(struct spool_writer *w, struct err *e);
void spool_larges_publish(struct spool_writer *w);
void spool_larges_undo(struct spool_writer *w);
#endif
