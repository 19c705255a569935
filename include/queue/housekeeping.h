/* queue/housekeeping.h - a consumer's periodic work on its queue. */
#ifndef MTA_QUEUE_HOUSEKEEPING_H
#define MTA_QUEUE_HOUSEKEEPING_H

#include "queue/queue.h"

struct housekeeping {
    struct queue *q; /* this and the next two: of housekeeping_watch() */
    struct loop_io wake;
    struct loop_timer pause; /* between a wake-up and the scan, under load */
    uint64_t scanned, synced, reclaimed, noted; /* ms of the loop */
    bool reclaim_on;                            /* there was more to do */
};

/* Scan, sync, reclaim, each when it is due.  Failures are logged; the other
 * steps go on.  -1 with *e: the process has to end (queue_is_lost()). */
int housekeeping_run(struct housekeeping *u, struct queue *q, struct err *e);

/* Scan the queue when a writer has committed: at once, and under load once for
 * many commits.  Both stay until the loop ends. */
int housekeeping_watch(struct housekeeping *u, struct queue *q, struct err *e);

/* ms until housekeeping_run() has something to do. */
uint64_t housekeeping_wait(const struct housekeeping *u, const struct queue *q);
#endif
