/* send/hop.h - a destination's use of a lane.  For src/send alone. */
#ifndef MTA_SEND_HOP_H
#define MTA_SEND_HOP_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

/* From one opening to the next the log has one line of a round. */
struct shut_log {
    bool said;
    unsigned others; /* that had none */
};

struct hop {
    struct list wait;  /* in a line of the lane */
    struct list park;  /* in lane->parked */
    struct list apart; /* of struct put_off (next_mx.h) */
    struct destination *destination;
    struct lane *lane;
    const char *name; /* of this destination's MX host; beside the hop */
    uint8_t rank, host, line;
    bool looped;           /* it is this system, or is worse than that */
    unsigned misfit;       /* lane->serial of a session that cannot take it */
    struct hop_shut *shut; /* hop_state.h; NULL: never was */
};
#endif
