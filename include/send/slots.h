/* send/slots.h - write the slots of recipients, again when the disk refuses.
 * For src/send alone. */
#ifndef MTA_SEND_SLOTS_H
#define MTA_SEND_SLOTS_H

#include "send/sched.h"

struct pool *slots_pool(void);

/* Write the state of a recipient into its slot.  A failure is logged, and the
 * write is kept for slots_retry(). */
void slots_put(struct sched *s, struct message *m, uint32_t index,
               const struct spool_slot *slot);

/* Write the slots that failed before, up to the next failure. */
void slots_retry(struct sched *s);
#endif
