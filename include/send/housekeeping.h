/* send/housekeeping.h - the sender's periodic work on the queue.  For
 * src/send/send.c. */
#ifndef MTA_SEND_HOUSEKEEPING_H
#define MTA_SEND_HOUSEKEEPING_H

#include "send/sched.h"

struct housekeeping {
    uint64_t scanned, synced, reclaimed; /* ms of the loop */
    bool reclaim_on;                     /* there was more to do */
};

/* Scan, sync, reclaim, each when it is due.  Failures are logged; the other
 * steps go on. */
void housekeeping_run(struct housekeeping *u, struct sched *s);

/* ms to wait before a requested scan. */
uint64_t housekeeping_scan_pause(const struct housekeeping *u,
                                 const struct sched *s);

/* ms until housekeeping_run() has something to do. */
uint64_t housekeeping_wait(const struct housekeeping *u, const struct sched *s);
#endif
