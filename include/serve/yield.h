/* serve/yield.h - give way to others, as long as it is cheap.
 *
 * Who waits for this processor, a client on the same machine above all, gets
 * it before a loop looks for input again, and then there is more to do in one
 * turn.  Beside somebody who computes without an end that costs a whole time
 * slice; when it does so again and again it is left out, for longer and longer,
 * and tried again. */
#ifndef MTA_SERVE_YIELD_H
#define MTA_SERVE_YIELD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WAY_DEAR_US = 3000, /* a time slice; what clients do is sooner done */
    WAY_SCORE = 8,      /* of a dear one; each other takes 1 back */
    WAY_SCORE_MOST = 128
};

/* All 0 at first. */
struct way {
    unsigned score; /* up to WAY_SCORE nothing is left out */
    unsigned left;  /* turns to come without giving way */
};

/* Once a turn. */
void way_give(struct way *w);

/* Its two halves: is it time to? and, it took so long. */
bool way_is_due(struct way *w);
void way_took(struct way *w, uint64_t us);
#endif
