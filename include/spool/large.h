/* spool/large.h - a message that is too large for memory.
 *
 * Its body is written to a segment of its own as it arrives.  Open it when the
 * envelope is complete; finish adds it to the turn and abort leaves no trace;
 * both free *s, even on failure, and abort accepts NULL.  After a failed append
 * only abort is allowed. */
#ifndef MTA_SPOOL_LARGE_H
#define MTA_SPOOL_LARGE_H

#include "spool/writer.h"

struct spool_large;
int spool_large_open(struct spool_large **s, struct spool_writer *w,
                     const struct spool_submission *m, struct err *e);
int spool_large_append(struct spool_large *s, const void *data, size_t n,
                       struct err *e);
/* Flags that only the text shows. */
void spool_large_add_flags(struct spool_large *s, uint32_t flags);
/* late may be NULL; m->late of the submission is not used. */
int spool_large_finish(struct spool_writer *w, struct spool_large **s,
                       const struct spool_late *late, struct err *e);
void spool_large_abort(struct spool_large **s);
#endif
