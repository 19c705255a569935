/* send/lookup_turns.h - which destination is looked up next.  For
 * src/send/destination*.c and sched.c.
 *
 * Look-ups are few at a time, and one at a silent name server takes many
 * seconds.  So senders take turns, and the messages of a sender do; those
 * whose last look-up failed for now count as one more sender.  Each holds at
 * most twice as many look-ups as it leaves free: a place is left for every
 * other.
 *
 * And a look-up is allowed a second while others wait for theirs.  After that
 * it gives way, and begins again among those that failed, where it has all the
 * time of the resolver.  A flood of silent zones so delays a look-up of the
 * same sender by a second, and none of another. */
#ifndef MTA_SEND_LOOKUP_TURNS_H
#define MTA_SEND_LOOKUP_TURNS_H

#include "base/list.h"
#include "base/map.h"

#include <stdbool.h>
#include <stdint.h>

/* At a time.  One at a silent server is one query; the resolver has 256. */
enum { LOOKUPS_MAX = 192 };

struct destination;
struct lookup_sender;

struct lookup_turns {
    struct map senders, messages;
    struct list line;  /* senders with destinations that wait */
    struct list fresh; /* destinations whose look-up runs and has not failed
                        * before, the oldest first */
    unsigned running;
};

/* Stands in the destination. */
struct lookup {
    struct lookup_sender *sender; /* of a look-up under way, else NULL */
    uint64_t began;               /* ms of the loop */
};

int lookup_turns_init(struct lookup_turns *t); /* -1: no memory */
void lookup_turns_free(struct lookup_turns *t);

/* The destination, which has due mail, waits for its turn, linked by d->turn.
 * False: no memory. */
bool lookup_wait(struct lookup_turns *t, struct destination *d);

/* The next one, whose look-up runs from now on until lookup_done(); NULL: none
 * may begin. */
struct destination *lookup_next(struct lookup_turns *t, uint64_t now);
void lookup_done(struct lookup_turns *t, struct destination *d);

/* One whose look-up has to give way, or NULL; the ms until there may be one
 * (UINT64_MAX: none). */
struct destination *lookup_slow(struct lookup_turns *t, uint64_t now);
uint64_t lookup_slow_in(const struct lookup_turns *t, uint64_t now);
#endif
