/* send/destination_dns.h - find the hosts of a destination.  For
 * src/send/destination.c, assign.c and send.c. */
#ifndef MTA_SEND_DESTINATION_DNS_H
#define MTA_SEND_DESTINATION_DNS_H

#include "send/sched.h"

/* Fill in the hops or the failed outcome of the look-up, now or later. */
void destination_look_up(struct sched *s, struct destination *d);

/* All hosts that are left are this system. */
void destination_set_looped(struct destination *d);

/* Of the timer of struct sched: a look-up that has run for a second gives way
 * if another waits. */
void destination_on_slow(struct loop_timer *t);

/* A host refused mail for a reason that stands in our settings: all mail waits
 * a moment. */
void destination_set_misconfigured(struct destination *d,
                                   const struct answer *why);

/* Forget the hops and release their lanes. */
void destination_drop_hops(struct sched *s, struct destination *d);

/* The hosts file was read anew: look up the next hops of the settings again
 * when mail is due. */
void destination_forget_settings(struct sched *s);
#endif
