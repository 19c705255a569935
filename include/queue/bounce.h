/* queue/bounce.h - notices to senders (RFC 3464). */
#ifndef MTA_QUEUE_BOUNCE_H
#define MTA_QUEUE_BOUNCE_H

#include "queue/queue.h"

/* Make the notices of q->notice durable with one commit, then settle their
 * deliveries (result_settled()). */
void bounce_flush(struct queue *q);
#endif
