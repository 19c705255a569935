/* send/assign.h - a turn's work of the main thread: due mail to lanes.  For
 * src/send/send.c.
 *
 * Nothing below calls back here: destinations and lanes with work stand in the
 * ready lists (ready.h). */
#ifndef MTA_SEND_ASSIGN_H
#define MTA_SEND_ASSIGN_H

#include "send/sched.h"

/* Work on a bounded number of ready destinations, on all ready lanes, and on
 * the lanes that waited for a descriptor. */
void assign_work(struct sched *s);

/* Take the delivery back from a worker, with its results. */
void assign_take_back(struct sched *s, struct delivery *j);
#endif
