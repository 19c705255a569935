/* spool/reclaim.h - give back the disk space of dead records. */
#ifndef MTA_SPOOL_RECLAIM_H
#define MTA_SPOOL_RECLAIM_H

#include "base/err.h"

struct spool_queue;
struct spool_writer;

/* Copy survivors out of closed segments that hold mostly dead bytes into w's
 * segment, commit w, remove the old.  Does a bounded piece of work, and none
 * while w has a turn of its owner's; 1: call again soon. */
int spool_queue_reclaim(struct spool_queue *q, struct spool_writer *w,
                        struct err *e);
#endif
