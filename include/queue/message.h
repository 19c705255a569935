/* queue/message.h - a queued message and its recipients, as small as it can
 * be: there may be a million.  Times are seconds of the process's own clock
 * (queue_seconds()), which no jump of the wall clock moves. */
#ifndef MTA_QUEUE_MESSAGE_H
#define MTA_QUEUE_MESSAGE_H

#include "base/list.h"
#include "spool/message.h"

#include <stdint.h>

enum rcpt_state {
    RCPT_WAITS,   /* in the retry queue */
    RCPT_DUE,     /* in a list of its place */
    RCPT_APART,   /* the same, and not to go with others of its message */
    RCPT_PARKED,  /* its place keeps it until a host opens */
    RCPT_OUT,     /* in a delivery */
    RCPT_SETTLES, /* its notice or copy is not yet durable */
    RCPT_HELD,    /* by an operator; or by the sender, in a list of held.c */
    RCPT_GONE     /* finished */
};

struct rcpt {
    struct list link;  /* retry queue or place */
    struct rcpt *next; /* of the message, by slot */
    struct message *msg;
    void *place;   /* the owner's: where its mail goes */
    uint32_t when; /* of the next attempt; before it is placed: seconds left */
    unsigned slot : 16, tries : 11 /* attempts and rounds */,
        suspect : 1 /* a session was lost over it */, state : 3,
        asked : 1 /* its slot has what becomes of it when it is back
                   * (operate.h) */
        ;
};
enum { RCPT_TRIES_MAX = 2047 };

enum { MESSAGE_GONE_MAX = 16383 };

struct message {
    struct spool_message stored;
    struct rcpt *rcpts; /* those not finished */
    union {
        struct message *next; /* among those that cannot be read now */
        uint32_t sender;      /* of all others: a hash of the reverse-path */
    } u;
    uint32_t expires;
    unsigned settling : 16 /* notices and slots still to be written */,
        gone : 14 /* recipients to be swept; at the most, perhaps more */,
        warned : 1 /* a delay notice was sent */,
        unreadable : 1 /* not readable so far; logged */;
};
#endif
