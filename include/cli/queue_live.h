/* cli/queue_live.h - what running consumers know of the queue and the disk does
 * not: recipients that are being delivered, and destinations whose hosts are
 * shut. */
#ifndef MTA_CLI_QUEUE_LIVE_H
#define MTA_CLI_QUEUE_LIVE_H

#include "base/err.h"
#include "base/span.h"
#include "config/conf.h"
#include "spool/format.h"

#include <stdbool.h>
#include <stdint.h>

struct queue_live;

/* A delivery under way. */
struct queue_delivering {
    uint64_t since;                       /* wall clock, us */
    const char *session, *address, *host; /* "": there is none */
};

enum queue_shut_is {
    QUEUE_SHUT,   /* until then, for what it did */
    QUEUE_PAUSED, /* the next session begins then */
    QUEUE_PACED,  /* its provider takes no more before */
    QUEUE_TRIAL   /* it was shut, and one message tries it */
};

/* No host of a destination can be used now. */
struct queue_shut {
    enum queue_shut_is is;
    uint64_t until; /* wall clock, us; 0: not known */
    const char *reason;
};

/* The settings have to outlive it.  NULL: no memory. */
struct queue_live *queue_live_new(const struct conf *c);
void queue_live_free(struct queue_live **l); /* accepts NULL; leaves NULL */

/* Does the sender run?  Hosts are shown only then. */
void queue_live_has_sender(struct queue_live *l, bool runs);
bool queue_live_sends(const struct queue_live *l);

/* run/NAME.sock of the process that consumes the queue. */
const char *queue_consumer(enum spool_name name);

/* A line of an answer (send/explain.h, deliver/control.h), for control_ask().
 * 0, or -1: no memory.  A line of another kind is none of ours. */
int queue_live_line(void *live, struct span line);

/* Both NULL: no.  Of this recipient; of recipients with such an address, by
 * the route that the settings give it, for mail from that sender. */
const struct queue_delivering *
queue_live_delivering(const struct queue_live *l,
                      const struct spool_record *rec, uint32_t slot);
const struct queue_shut *
queue_live_shut(struct queue_live *l, struct span sender, struct span address);
#endif
