/* send/dispatch.h - from a message and its due recipients to a delivery.  For
 * src/send alone. */
#ifndef MTA_SEND_DISPATCH_H
#define MTA_SEND_DISPATCH_H

#include "send/sched.h"

/* Take the first due recipient of d, with all due ones of its message that go
 * the same way: to the lane, or with NULL to d alone.  NULL: no memory, or the
 * message could not be read; the recipients are tried again later. */
struct delivery *dispatch_make(struct sched *s, struct destination *d,
                               const struct lane *l);

/* The same for those that go to this hop alone. */
struct delivery *dispatch_make_apart(struct sched *s, struct hop *h);

/* One recipient that goes nowhere, for an answer that it has.  NULL: no memory,
 * or the message could not be read. */
struct delivery *dispatch_describe(struct sched *s, struct rcpt *r);
#endif
