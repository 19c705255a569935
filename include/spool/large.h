/* spool/large.h - a message too large to wait in memory.
 *
 * Its body goes to a segment of its own as it arrives.  Open it when the
 * envelope is complete; finish adds it to the turn and abort leaves no trace;
 * both free *s, whatever happens, and abort accepts NULL.  After an append
 * that failed only abort makes sense.  An envelope may be empty with nrcpt 0:
 * then it is only a place for the body and must be aborted. */
#ifndef MTA_SPOOL_LARGE_H
#define MTA_SPOOL_LARGE_H

#include "spool/writer.h"

struct spool_large;
int spool_large_open(struct spool_large **s, struct spool_writer *w,
                     const struct spool_submission *m, struct err *e);
int spool_large_append(struct spool_large *s, const void *data, size_t n,
                       struct err *e);
struct body spool_large_body(const struct spool_large *s); /* what is there */
/* late may be NULL; m->late of the submission is not used. */
int spool_large_finish(struct spool_writer *w, struct spool_large **s,
                       const struct spool_late *late, struct err *e);
void spool_large_abort(struct spool_large **s);
#endif
