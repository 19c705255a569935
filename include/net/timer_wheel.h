/* net/timer_wheel.h - deadlines in O(1): a hierarchical timing wheel.
 *
 * Varghese and Lauck, "Hashed and hierarchical timing wheels", scheme 7.
 * Part of the loop; a clock-free machine of its own so it can be tested. */
#ifndef MTA_NET_TIMER_WHEEL_H
#define MTA_NET_TIMER_WHEEL_H

#include "net/loop.h"

enum {
    TIMER_WHEEL_LEVELS = 6,
    TIMER_WHEEL_BITS = 6,
    TIMER_WHEEL_SLOTS = 1 << TIMER_WHEEL_BITS
};

/* Ticks of 1 ms; six levels of 64 slots reach 2^36 ms, more than two years;
 * later deadlines wait in the last slot and are sorted in again. */
struct timer_wheel {
    uint64_t now; /* all slots before it are empty */
    uint64_t
        used[TIMER_WHEEL_LEVELS]; /* a bit for each slot that is not empty */
    struct list slot[TIMER_WHEEL_LEVELS][TIMER_WHEEL_SLOTS];
    struct list due; /* removed from their slots, not yet called */
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now);
void timer_wheel_add(struct timer_wheel *w, struct loop_timer *t, uint64_t due);
void timer_wheel_remove(struct timer_wheel *w, struct loop_timer *t);

/* Move everything due by `now` to w->due, in the order of deadlines. */
void timer_wheel_advance(struct timer_wheel *w, uint64_t now);

/* The next time at which timer_wheel_advance() has work: a deadline, or timers
 * that move down a level.  No deadline is earlier.  UINT64_MAX when no timer is
 * set. */
uint64_t timer_wheel_next(const struct timer_wheel *w);
#endif
