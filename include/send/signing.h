/* send/signing.h - mail gets its DKIM signatures on its way from the main
 * thread to a lane's session.  For src/send alone.
 *
 * What is to be signed and has no signature yet goes to the signing thread
 * first, and counts as given to the lane meanwhile.  A signature serves all
 * deliveries of the message, later ones too while there is room for it. */
#ifndef MTA_SEND_SIGNING_H
#define MTA_SEND_SIGNING_H

#include "send/sched.h"

struct signing;

/* Signals must be blocked.  Does nothing without dkim.keys. */
int signing_open(struct sched *s, int channel, struct err *e);

/* Give the delivery to the worker of its lane, signed. */
void signing_give(struct sched *s, struct send_delivery *d);
void signing_hand_over(struct sched *s); /* at the end of a turn */

/* Readable (-1: never) when signatures are there: signing_take() gives on what
 * waited for them.  What gets none comes back with its answers, by the links
 * of work items. */
int signing_fd(const struct sched *s);
void signing_take(struct sched *s, struct list *back);

/* Is there something to take that signing_fd() does not show? */
bool signing_is_short(const struct sched *s);

/* A delivery comes back from its worker: its body is as it was. */
void signing_release(struct sched *s, struct send_delivery *d);

/* All that is not signed yet comes back, and so does what is given later. */
void signing_stop(struct sched *s);
void signing_end(struct sched *s); /* and the thread ends */
/* No delivery is out any more. */
void signing_free(struct sched *s);
#endif
