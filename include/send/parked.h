/* send/parked.h - mail of a destination whose hosts are all shut: it waits for
 * one of them to open, whatever its own back-off says.  For src/send alone.
 *
 * When a lane opens, one parked message tries it, a suspect only when there is
 * no other.  A reply wakes all mail
 * that is parked there; otherwise the lane is shut again, and those whose own
 * time has come do a round. */
#ifndef MTA_SEND_PARKED_H
#define MTA_SEND_PARKED_H

#include "send/sched.h"

/* Has its own time not come yet, so that a shut host is no round? */
bool parked_early(const struct sched *s, const struct rcpt *r);

/* It was taken out of its list; r->when is the time of its next round. */
void parked_add(struct rcpt *r);

/* Make due what need not be parked any more, or may do a round; the others wait
 * at the lanes of d. */
void parked_see(struct sched *s, struct destination *d);
/* All of it. */
void parked_wake(struct destination *d);

/* Make the parked recipients of one message due that is to try the lane: the
 * first of the destination that is returned.  NULL: none can. */
struct destination *parked_probe(struct lane *l);
#endif
