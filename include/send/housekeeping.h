/* send/housekeeping.h - the sender's periodic work on the queue; opening and
 * closing of its scheduler.  For src/send/send.c. */
#ifndef MTA_SEND_HOUSEKEEPING_H
#define MTA_SEND_HOUSEKEEPING_H

#include "send/sched.h"

/* Everything of struct sched but the workers.  On failure sched_close(). */
int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e);
void sched_close(struct sched *s);

struct upkeep {
    uint64_t scanned, synced, reclaimed; /* ms of the loop */
    bool reclaim_on;                     /* there was more to do */
};

/* Scan, sync, reclaim, each when it is time.  Failures are logged: what can
 * be done without them goes on. */
void upkeep_turn(struct upkeep *u, struct sched *s);

/* ms to wait before a scan that somebody asked for. */
uint64_t upkeep_scan_pause(const struct upkeep *u, const struct sched *s);

/* ms until upkeep_turn() has something to do. */
uint64_t upkeep_wait(const struct upkeep *u, const struct sched *s);
#endif
