/* queue/counters.h - what became of the mail of a queue since the start of its
 * consumer: in all, and of the busiest destinations and senders.
 *
 * A name has numbers of its own while it is among the COUNTERS_NAMES busiest;
 * all others are counted together.  A name that gets busier than the least of
 * them takes its place and begins at zero, so no number ever falls but by a new
 * begin.  Recent mail counts most: weights halve each hour.  Memory is bounded,
 * and an event costs two look-ups. */
#ifndef MTA_QUEUE_COUNTERS_H
#define MTA_QUEUE_COUNTERS_H

#include "base/buf.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { COUNTERS_NAMES = 100, COUNTERS_BOUNDS = 9 };

/* Seconds from arrival to delivery: a bucket up to each, and one beyond. */
extern const uint32_t counters_bounds[COUNTERS_BOUNDS];

struct counters;

/* NULL: no memory; the functions below accept that. */
struct counters *counters_new(void);
void counters_free(struct counters **c);

enum counters_what { COUNTERS_DELIVERED, COUNTERS_DEFERRED, COUNTERS_BOUNCED };

/* An end, or an attempt, for a recipient. */
struct counters_event {
    enum counters_what what;
    struct span address, sender; /* without <> */
    /* Of what is delivered: */
    uint64_t size, latency_us;
    bool message; /* the first recipient of its transaction */
};
void counters_count(struct counters *c, const struct counters_event *e);

/* The lines of the control protocol, from line *at on, as long as they fit;
 * true: there are more.  With a name, "*" for all others, behind the numbers:
 *   counter all|destination|sender MESSAGES DELIVERED DEFERRED BOUNCED OCTETS
 *           LATENCY_US N,N,... NAME */
bool counters_answer(const struct counters *c, unsigned *at,
                     struct buf *answer);
#endif
