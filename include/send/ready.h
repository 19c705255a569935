/* send/ready.h - what has work in this turn: destinations with due mail or a
 * new answer, lanes with room for the destinations that wait there.  For
 * src/send alone; src/send/assign.c takes it out. */
#ifndef MTA_SEND_READY_H
#define MTA_SEND_READY_H

#include "send/sched.h"

/* Each is listed once, however often it becomes ready. */
void ready_destination(struct destination *d);
void ready_lane(struct sched *s, struct lane *l);

/* Take the first, or NULL. */
struct destination *ready_take_destination(struct sched *s);
struct lane *ready_take_lane(struct sched *s);
bool ready_any(const struct sched *s);
#endif
