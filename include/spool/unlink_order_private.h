/* spool/unlink_order_private.h - a segment with copies goes last.
 *
 * For src/spool only.  Reclaim moves records from one segment to another; the
 * old record is not marked, the copy outlives it by its generation.  So while
 * the old file is there, or may come back because its unlink is not synced,
 * the file with the copy must stay, even when all in it is delivered: without
 * the copy, the old record is pending again after a crash, and is delivered a
 * second time.  A move notes both files until the directory is synced. */
#ifndef MTA_SPOOL_UNLINK_ORDER_PRIVATE_H
#define MTA_SPOOL_UNLINK_ORDER_PRIVATE_H

#include "spool/segments_private.h"

struct spool_move {
    struct list out; /* in from->moved_out, then in the queue's unlinked */
    struct list in;  /* in to->moved_in */
    struct spool_segment *to;
};

/* A record of `from` has a newer copy in `to`.  False: no memory. */
bool spool_unlink_order_note(struct spool_segment *from,
                             struct spool_segment *to);

/* Must the file stay for now?  Until the first scan has shown all records of
 * the start, older records of copies are unknown, so each file with a copy
 * stays. */
bool spool_unlink_order_waits(const struct spool_queue *q,
                              const struct spool_segment *g);

/* The file of g is unlinked: files with copies from it wait for the sync. */
void spool_unlink_order_gone(struct spool_queue *q, struct spool_segment *g);

/* The directory is synced: remove segments that waited for that alone. */
void spool_unlink_order_synced(struct spool_queue *q);
#endif
