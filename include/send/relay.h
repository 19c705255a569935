/* send/relay.h - send.relay_host with more than one host: mail goes to the
 * first that works.  For src/send alone.
 *
 * Each host is a destination of its own, and mail begins at the first.  What is
 * due moves to the next one while its hosts are shut, are not found, or refuse
 * our login, and back when an earlier one works again.  When none works, it
 * waits at the one that opens first. */
#ifndef MTA_SEND_RELAY_H
#define MTA_SEND_RELAY_H

#include "send/sched.h"

/* Does due mail of d belong to another host now? */
bool relay_is_passed(struct sched *s, struct destination *d);

/* Move it there, some in a turn.  False: it stays. */
bool relay_pass(struct sched *s, struct destination *d);
#endif
