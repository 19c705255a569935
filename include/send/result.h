/* send/result.h - from the answers of a delivery to slots, log and retry queue.
 * For src/send alone. */
#ifndef MTA_SEND_RESULT_H
#define MTA_SEND_RESULT_H

#include "send/sched.h"

/* Takes the delivery, in which each recipient has its answer. */
void result_apply(struct sched *s, struct delivery *j);

/* Attempts, rounds and times with this try, on top of those before, which only
 * the slot keeps apart. */
void result_count(struct sched *s, const struct delivery *j,
                  const struct rcpt *r, struct spool_slot *slot);

/* Takes the delivery.  Its notices are durable (bounce: the id of the message
 * that reports failures) or, with NULL, could not be written. */
void result_settled(struct sched *s, struct delivery *j, const char *bounce);
#endif
