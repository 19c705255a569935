/* queue/slots.h - write the slots of recipients, and again those that the disk
 * refused. */
#ifndef MTA_QUEUE_SLOTS_H
#define MTA_QUEUE_SLOTS_H

#include "queue/queue.h"

struct pool *slots_pool(void);

/* Write the state of a recipient into its slot.  A failure is logged, and the
 * write is kept for slots_retry(). */
void slots_put(struct queue *q, struct message *m, uint32_t index,
               const struct spool_slot *slot);

/* Write the slots that failed before, up to the next failure. */
void slots_retry(struct queue *q);
#endif
