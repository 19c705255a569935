/* send/recipients.h - messages and recipients in memory: their waits and their
 * end.  For src/send alone. */
#ifndef MTA_SEND_RECIPIENTS_H
#define MTA_SEND_RECIPIENTS_H

#include "send/sched.h"

/* Seconds until the message expires. */
uint32_t message_left(const struct sched *s, const struct message *m);

/* The recipient is due again in so many seconds. */
void rcpt_later(struct sched *s, struct rcpt *r, uint32_t seconds);

/* Mark the recipient as finished; message_sweep() frees it. */
void rcpt_release(struct sched *s, struct rcpt *r);

/* Free the finished recipients, and the message after its last one. */
void message_sweep(struct sched *s, struct message *m);
#endif
