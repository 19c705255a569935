/* send/explain.h - the sender's socket run/send.sock: what only its memory
 * knows of the queue.  For src/send alone.
 *
 * Commands (control/server.h), times in microseconds of the wall clock:
 *   list      all deliveries that workers have, and all destinations that
 *             reach no host now
 *   ping      nothing: the process answers
 *   hold, release, retry, delete, flush: queue/operate.h
 *   waiting: queue/operate.h; counters: queue/counters.h
 *   show ID   the same, of deliveries only those of that message's parts
 * Lines of the answer; SLOTS are indices of recipients, with commas between;
 * "-" stands for what there is not; KEY is that of route_key():
 *   delivering ID PART SLOTS SINCE SESSION ADDRESS HOST
 *   shut KEY UNTIL REASON     all hosts are shut, the first one until then
 *   paused KEY UNTIL REASON   reconnects then
 *   paced KEY UNTIL REASON    its provider takes no more now; then the next one
 *   trial KEY 0 REASON        was shut; one message tries it
 * And of one peer: lane HOST ADDRESS:PORT (explain_lane.h). */
#ifndef MTA_SEND_EXPLAIN_H
#define MTA_SEND_EXPLAIN_H

#include "control/server.h"
#include "send/sched.h"

/* Before there are threads.  control_close() ends it. */
int explain_open(struct control **c, struct sched *s, struct err *e);
#endif
