/* spool/move_record_private.h - move a record into the writer's segment.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_MOVE_RECORD_PRIVATE_H
#define MTA_SPOOL_MOVE_RECORD_PRIVATE_H

#include "spool/writer.h"

/* Add a copy of a record, slots as they are, with a higher generation; the
 * caller has reserved the room.  *r becomes the new record, *at its place in
 * w->f.  After failure the turn must be rolled back; ERR_PERM: the old record
 * has rotted. */
int spool_move_record(struct spool_writer *w, struct spool_record *r, int fd,
                      uint64_t *at, struct err *e);
/* Write the headers of the copies, after a sync of their content. */
int spool_moves_finish(struct spool_writer *w, struct err *e);
void spool_moves_forget(struct spool_writer *w);
#endif
