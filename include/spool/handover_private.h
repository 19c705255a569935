/* spool/handover_private.h - what a step and a start of the hand-over share.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_HANDOVER_PRIVATE_H
#define MTA_SPOOL_HANDOVER_PRIVATE_H

#include "spool/handover.h"

/* Mark one slot, also one that reads as marked: the mark may have been lost by
 * a sync that failed.  Slots that ended otherwise stay. */
int spool_handover_mark_slot(struct spool_queue *q, struct spool_message *m,
                             uint32_t index, struct err *e);

/* Write the confirmed words of what w has committed; all parents' marks are on
 * the disk.  -1: some are not written, and stay to be. */
int spool_handover_write_words(struct spool_writer *w, struct err *e);

/* Write the word of a segment, which may be gone. */
int spool_handover_write_word(const char *dir, uint64_t id, uint64_t end,
                              struct err *e);
#endif
