/* queue/retry_queue.h - recipients that wait, by the second.
 *
 * A ring of lists: putting one in or taking it out is O(1) and costs a
 * recipient no more than the link it has anyway. */
#ifndef MTA_QUEUE_RETRY_QUEUE_H
#define MTA_QUEUE_RETRY_QUEUE_H

#include "queue/message.h"

#include <stddef.h>

enum { CALENDAR_DAYS = 4096 }; /* "days" of one second */

struct calendar {
    struct list day[CALENDAR_DAYS];
    uint32_t today;
    size_t n;
};

void calendar_init(struct calendar *c, uint32_t now);

/* For r->when; what is past comes out at the next call of calendar_due(). */
void calendar_add(struct calendar *c, struct rcpt *r);
void calendar_remove(struct calendar *c, struct rcpt *r);

/* Move all whose time has come to the end of `due`. */
void calendar_due(struct calendar *c, uint32_t now, struct list *due);

/* All of them. */
void calendar_flush(struct calendar *c, struct list *due);

/* Seconds from `today` until something may be due; UINT32_MAX: empty. */
uint32_t calendar_next(const struct calendar *c);
#endif
