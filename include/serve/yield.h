/* serve/yield.h - let more come before polling: yield the CPU, but back off
 * when it costs a time slice; rest among handshakes.
 *
 * A process that waits for this CPU, above all a client on the same machine,
 * runs before the loop polls for input again, so that there is more to do in
 * one turn.  Beside a process that computes without end each yield costs a
 * whole time slice: after several of these the yield is skipped for more and
 * more turns, then tried again. */
#ifndef MTA_SERVE_YIELD_H
#define MTA_SERVE_YIELD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WAY_DEAR_US = 3000, /* a time slice; clients need less */
    WAY_SCORE = 8,      /* added by a dear yield; a cheap one subtracts 1 */
    WAY_SCORE_MOST = 128
};

/* All 0 at first. */
struct way {
    unsigned score; /* up to WAY_SCORE no yield is skipped */
    unsigned left;  /* turns to skip */
};

/* Once a turn. */
void way_give(struct way *w);

/* Its two halves: is a yield due; report how long it took. */
bool way_is_due(struct way *w);
void way_took(struct way *w, uint64_t us);

/* A handshake takes the CPU for longer than all commands of a session, and
 * meanwhile theirs come one by one.  A turn for each of them costs more than
 * the command: a wake-up, with the caches full of other things, a sync and a
 * message to the log.  So for some turns after a handshake the loop rests
 * before it waits, unless only one client at a time had anything to say. */
enum { REST_US = 800, REST_TURNS = 8, REST_SINGLES = 4 };

/* All 0 at first. */
struct rest {
    unsigned turns;   /* left */
    unsigned singles; /* turns in a row with one client ready, or none */
};

/* Once a turn, of which it gets what was ready and if there was a handshake:
 * is the next one to begin with a rest? */
bool rest_is_due(struct rest *r, unsigned ready, bool handshake);
#endif
