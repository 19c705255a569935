/* send/bounce.h - notices to senders (RFC 3464) and forwarded copies.  For
 * src/send alone. */
#ifndef MTA_SEND_BOUNCE_H
#define MTA_SEND_BOUNCE_H

#include "send/sched.h"

/* Make the notices of s->notices durable with one commit, then settle their
 * deliveries (result_settled()). */
void bounce_flush(struct sched *s);
#endif
