/* queue/result.h - from the answers of a delivery to slots, log and retry
 * queue. */
#ifndef MTA_QUEUE_RESULT_H
#define MTA_QUEUE_RESULT_H

#include "queue/queue.h"

/* Takes the delivery, in which each recipient has its answer. */
void result_apply(struct queue *q, struct delivery *j);

/* Takes the delivery, whose recipients have notices and are replaced by a child
 * of this turn. */
void result_replaced(struct queue *q, struct delivery *j);

/* Attempts, rounds and times with this try, on top of those before, which only
 * the slot keeps apart. */
void result_count(struct queue *q, const struct delivery *j,
                  const struct rcpt *r, struct spool_slot *slot);

/* Takes the delivery.  Its notices are durable (bounce: the id of the message
 * that reports failures) or, with NULL, could not be written: a recipient that
 * failed is tried again, and a report of success is written again later. */
void result_settled(struct queue *q, struct delivery *j, const char *bounce);

/* For queue_close(): reports that were never written. */
void result_forget(struct queue *q);
#endif
