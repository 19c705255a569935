/* queue/recipients.h - messages and recipients in memory: their waits and their
 * end. */
#ifndef MTA_QUEUE_RECIPIENTS_H
#define MTA_QUEUE_RECIPIENTS_H

#include "queue/queue.h"

/* Seconds until the message expires. */
uint32_t message_left(const struct queue *q, const struct message *m);

/* Seconds for which it has been tried. */
uint32_t message_age(const struct queue *q, const struct message *m);

/* A recipient has waited uncounted: the message is no older than the attempts
 * of all of them can have taken (retry_age()). */
void message_forget_wait(const struct queue *q, struct message *m);

/* The recipient is due again in so many seconds. */
void rcpt_later(struct queue *q, struct rcpt *r, uint32_t seconds);

/* Mark the recipient as finished; message_sweep() frees it. */
void rcpt_release(struct queue *q, struct rcpt *r);

/* Free the finished recipients, and the message after its last one. */
void message_sweep(struct queue *q, struct message *m);
#endif
