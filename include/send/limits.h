/* send/limits.h - what is known of a host's limits, from its sessions before.
 * Goes into a session and comes out of it with what that one learned. */
#ifndef MTA_SEND_LIMITS_H
#define MTA_SEND_LIMITS_H

#include "base/msg_id.h"

#include <stdbool.h>
#include <stdint.h>

enum { LIMITS_CLEAR_SECONDS = 3600 /* for which no_tls is known */ };

enum chunking {
    CHUNKING_UNKNOWN,
    CHUNKING_WORKS, /* a BDAT was accepted */
    CHUNKING_BROKEN /* offered, but not to be used */
};

struct send_limits {
    unsigned messages; /* of a session; 0: none known */
    unsigned rcpts;    /* of a transaction; 0: none known */
    enum chunking chunking;
    /* A limit of messages that may be one: the last session ended there, at
     * MAIL of this message.  It is one when the host takes that MAIL as the
     * first of the next session.  0: none. */
    unsigned tried_messages;
    struct msg_id tried_id;
    uint32_t clear_until; /* seconds of the sender; of no_tls: */
    bool no_tls;          /* it did not work: clear text where that will do */
    bool configured;      /* the opener's next hop is a setting */
    bool lmtp;            /* and it speaks LMTP */
    const char *group;    /* provider.h; NULL: of none */
};
#endif
