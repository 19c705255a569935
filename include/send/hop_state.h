/* send/hop_state.h - whether mail of a destination may use its lane: as
 * lane_state.h has it for all, and besides shut for this destination alone,
 * because TLS with the host is not what its mail demands.  For src/send alone.
 *
 * A hop is shut for 1, 2, 4 ... 30 minutes, as a lane is; then all of the
 * destination's mail may try it. */
#ifndef MTA_SEND_HOP_STATE_H
#define MTA_SEND_HOP_STATE_H

#include "send/lane_state.h"

struct hop_shut {
    struct loop_timer opens;
    struct hop *hop;
    uint64_t until; /* ms of the loop */
    unsigned failures;
    struct shut_log log;
    struct answer why;
};

/* The worse of the two. */
struct lane_state hop_state(const struct sched *s, const struct hop *h);
bool hop_is_up(const struct sched *s, const struct hop *h);

/* When it opens (ms of the loop; may be over), why it is shut, and where the
 * lines of the log are counted. */
uint64_t hop_opens(const struct hop *h);
const struct answer *hop_why(const struct hop *h);
struct shut_log *hop_log(const struct hop *h);

/* Shut it, if it is not; lift that; the new hop takes the place of the old. */
void hop_shut(struct sched *s, struct hop *h, const struct answer *why);
void hop_open(struct sched *s, struct hop *h);
void hop_move(struct hop *to, struct hop *from);

/* Can the lane's open session not take its mail?  It showed that. */
bool hop_misfits(const struct hop *h);
#endif
