/* send/explain_lane.h - the command "lane HOST ADDRESS:PORT" of run/send.sock
 * (explain.h): what the sender knows of one peer.  For src/send alone.
 *
 * One line, "-" for what there is not, the time in us of the wall clock:
 *   lane STATE UNTIL SESSION PACE RATE SESSIONS REASON
 * STATE: up, paced, paused, shut, trial, or none: no mail for it of late.
 * PACE: the provider or the peer whose pace it is; RATE: messages a minute,
 * SESSIONS: at once, that it takes; 0: no limit is known. */
#ifndef MTA_SEND_EXPLAIN_LANE_H
#define MTA_SEND_EXPLAIN_LANE_H

#include "send/sched.h"

/* peer: "HOST ADDRESS:PORT".  -1 with *e: it is no such text. */
int explain_lane(struct buf *answer, struct sched *s, const char *peer,
                 struct err *e);
#endif
