/* serve/yield.h - yield the CPU before polling; back off when it costs a time
 * slice.
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
#endif
