/* send/wrong_queue.h - mail in remote/ whose domain is ours, since settings
 * have changed: to local/.  For src/send alone. */
#ifndef MTA_SEND_WRONG_QUEUE_H
#define MTA_SEND_WRONG_QUEUE_H

#include "send/sched.h"

/* Hand over due recipients of the destination of all local domains, one step a
 * message. */
void wrong_queue_leave(struct sched *s, struct destination *d);
#endif
