/* send/dispatch.h - from a message and its due recipients to a delivery.  For
 * src/send alone. */
#ifndef MTA_SEND_DISPATCH_H
#define MTA_SEND_DISPATCH_H

#include "send/sched.h"

/* Take the first due recipient of d, with all due ones of its message that go
 * the same way, and give them to the lane.  False: no memory, or the message
 * could not be read; the recipients are tried again later. */
bool dispatch_one(struct sched *s, struct destination *d, struct lane *l);

/* The same for an answer of our own, without a peer; host (may be NULL) is the
 * peer that caused it. */
void dispatch_answer(struct sched *s, struct destination *d,
                     const struct answer *a, const char *host);
#endif
