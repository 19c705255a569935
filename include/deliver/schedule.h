/* deliver/schedule.h - due recipients and their turns.  For src/deliver alone.
 *
 * Messages take turns in the order in which they became due.  All recipients of
 * one are resolved together at its first turn; beyond SCHEDULE_COPIES of them
 * it stands in line again, so that a long list delays others little. */
#ifndef MTA_DELIVER_SCHEDULE_H
#define MTA_DELIVER_SCHEDULE_H

#include "deliver/state.h"

enum {
    SCHEDULE_COPIES = 50,
    SCHEDULE_TURN = 512 /* recipients in one turn of the loop */
};

void schedule_due(struct deliver *d, struct rcpt *r);

/* Resolve due recipients and offer them to mailbox processes. */
void schedule_turn(struct deliver *d);

/* The user helper has answered. */
void schedule_answered(struct deliver *d);

/* The retry queue: those that are due by now, or all. */
void schedule_retries(struct deliver *d, bool all);
#endif
