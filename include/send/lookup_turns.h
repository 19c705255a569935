/* send/lookup_turns.h - which destination is looked up next.  For
 * src/send/destination*.c and sched.c.
 *
 * Look-ups are few at a time, and one at a silent name server takes many
 * seconds.  So the destinations of one message are a group, and those whose
 * last look-up failed for now are another; groups take turns, and each holds
 * at most twice as many look-ups as it leaves free.  A flood of silent zones
 * so delays its own message, and a place is left for every other. */
#ifndef MTA_SEND_LOOKUP_TURNS_H
#define MTA_SEND_LOOKUP_TURNS_H

#include "base/list.h"
#include "base/map.h"

#include <stdbool.h>

enum { LOOKUPS_MAX = 64 }; /* at a time */

struct sched;
struct destination;

struct lookup_turns {
    struct map groups;
    struct list line; /* groups with destinations that wait */
    unsigned running;
};

int lookup_turns_init(struct lookup_turns *t); /* -1: no memory */
void lookup_turns_free(struct lookup_turns *t);

/* The destination, which has due mail, waits for its turn, linked by d->turn.
 * False: no memory. */
bool lookup_wait(struct lookup_turns *t, struct destination *d);

/* The next one, whose look-up runs from now on until lookup_done(); NULL: none
 * may begin. */
struct destination *lookup_next(struct lookup_turns *t);
void lookup_done(struct lookup_turns *t, struct destination *d);
#endif
