/* queue/owner.h - what a queue calls of its owner, the process that consumes
 * it. */
#ifndef MTA_QUEUE_OWNER_H
#define MTA_QUEUE_OWNER_H

#include "queue/delivery.h"
#include "queue/message.h"

struct queue;

struct queue_owner {
    /* Find or make the place of one more recipient of mail from that
     * reverse-path; release() drops it.  NULL: no memory. */
    void *(*place)(struct queue *q, struct span sender, struct span address);
    void (*release)(struct queue *q, void *place);
    /* The recipient is due now. */
    void (*due)(struct queue *q, struct rcpt *r);
    /* It was to be offered, and was not: the owner has it again. */
    void (*back)(struct queue *q, struct delivery *j, struct delivery_rcpt *r);
    /* It would be deferred.  True: the owner offers it to another host at once,
     * and this answer counts only if that one gives none. */
    bool (*goes_on)(struct queue *q, struct delivery *j,
                    struct delivery_rcpt *r);
    /* It is deferred for so many seconds.  True: the owner keeps it, and slot
     * and log show *seconds; false: the retry queue does. */
    bool (*keep)(struct queue *q, struct delivery *j, struct delivery_rcpt *r,
                 uint32_t *seconds);
    /* Is the address ours?  A notice to it goes to local/. */
    bool (*is_local)(struct queue *q, struct span address);
    /* Take out of its lists what due() or keep() gave the owner.  False: it is
     * in hand, and comes back. */
    bool (*take)(struct queue *q, struct rcpt *r);
    /* Forget why hosts are not tried; NULL: there are none. */
    void (*forget_faults)(struct queue *q);
};

struct queue_events { /* of the owner: what becomes of a recipient */
    const char *delivered, *deferred, *bounced, *expanded;
};
#endif
