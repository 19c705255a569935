/* deliver/control.h - the socket of the delivery process, run/deliver.sock.
 * For src/deliver alone.
 *
 * Commands (control/server.h):
 *   ping      nothing: the process answers
 *   list      the copies that mailbox processes have
 *   show ID   those of that message's parts
 *   hold, release, retry, delete, flush: queue/operate.h
 *   waiting: queue/operate.h; counters: queue/counters.h
 * Lines of the answer as those of the sender (send/explain.h); the host is the
 * mailbox:
 *   delivering ID PART SLOT SINCE - - MAILBOX */
#ifndef MTA_DELIVER_CONTROL_H
#define MTA_DELIVER_CONTROL_H

#include "control/server.h"
#include "deliver/state.h"

/* control_close() ends it. */
int deliver_control_open(struct control **c, struct deliver *d, struct err *e);
#endif
