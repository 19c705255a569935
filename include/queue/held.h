/* queue/held.h - recipients whose mail has waited for a whole queue lifetime
 * until a fault of ours (a setting, a damaged message) would be repaired.  They
 * are not tried any more, and not returned, until the next start, reload or
 * flush: then each waits for a lifetime again.
 *
 * The flag by_sender of a slot marks such a hold.  Without it the hold is an
 * operator's, and nothing here changes it. */
#ifndef MTA_QUEUE_HELD_H
#define MTA_QUEUE_HELD_H

#include "queue/queue.h"

/* The recipient has waited once more.  The slot, as it is on the disk, changes
 * to what is to be written: it waits on, or is held.  Returns the seconds until
 * it is due again; 0: it is held, and no longer pending. */
uint32_t held_or_later(struct queue *q, struct rcpt *r,
                       struct spool_slot *slot);

/* Its slot was found on the disk as held by the sender; queue_scan() releases
 * it. */
void held_found(struct queue *q, struct rcpt *r);

/* Is it held by the sender? */
static inline bool held_by_sender(const struct rcpt *r)
{
    return r->state == RCPT_HELD && list_linked(&r->link);
}

/* The same recipient is given up by the scan, or an operator has it; any other
 * is left as it is. */
void held_forget(struct queue *q, struct rcpt *r);

/* All are due again. */
void held_release(struct queue *q);

/* Log how many were held since the last line, at most once a minute. */
void held_report(struct queue *q);
#endif
