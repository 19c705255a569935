/* queue/retry_queue.h - recipients that wait for their next attempt, by the
 * second.
 *
 * A ring of lists: adding and removing are O(1) and use the link that a
 * recipient has anyway. */
#ifndef MTA_QUEUE_RETRY_QUEUE_H
#define MTA_QUEUE_RETRY_QUEUE_H

#include "queue/message.h"

#include <stddef.h>

enum { RETRY_QUEUE_SECONDS = 4096 }; /* lists in the ring, one a second */

struct retry_queue {
    struct list second[RETRY_QUEUE_SECONDS];
    uint32_t now;
    size_t n;
};

void retry_queue_init(struct retry_queue *c, uint32_t now);

/* Add r for r->when; a time in the past is due at the next retry_queue_due().
 */
void retry_queue_add(struct retry_queue *c, struct rcpt *r);

void retry_queue_remove(struct retry_queue *c, struct rcpt *r);

/* Move all recipients that are due to the end of `due`. */
void retry_queue_due(struct retry_queue *c, uint32_t now, struct list *due);

/* Move all recipients. */
void retry_queue_flush(struct retry_queue *c, struct list *due);

/* Seconds from `now` until something may be due; UINT32_MAX: empty. */
uint32_t retry_queue_next(const struct retry_queue *c);
#endif
