#include "net/timer_wheel.h"

void timer_wheel_init(struct timer_wheel *w, uint64_t now)
{
    w->now = now;
    list_init(&w->due);
    for (int l = 0; l < TIMER_WHEEL_LEVELS; l++) {
        w->used[l] = 0;
        for (int s = 0; s < TIMER_WHEEL_SLOTS; s++)
            list_init(&w->slot[l][s]);
    }
}

static unsigned slot_of(uint64_t due, int level)
{
    return (unsigned)(due >> (TIMER_WHEEL_BITS * level)) &
           (TIMER_WHEEL_SLOTS - 1);
}

/* The lowest level whose 64 slots, counted from now, reach the deadline. */
void timer_wheel_add(struct timer_wheel *w, struct loop_timer *t, uint64_t due)
{
    int level = 0;

    t->due = due;
    if (due < w->now)
        due = w->now;
    while (level < TIMER_WHEEL_LEVELS - 1 &&
           (due >> (TIMER_WHEEL_BITS * level)) -
                   (w->now >> (TIMER_WHEEL_BITS * level)) >=
               TIMER_WHEEL_SLOTS)
        level++;
    uint64_t steps = (due >> (TIMER_WHEEL_BITS * level)) -
                     (w->now >> (TIMER_WHEEL_BITS * level));
    if (steps >= TIMER_WHEEL_SLOTS) /* beyond the wheel: in its last slot */
        due = ((w->now >> (TIMER_WHEEL_BITS * level)) + TIMER_WHEEL_SLOTS - 1)
              << (TIMER_WHEEL_BITS * level);
    unsigned s = slot_of(due, level);
    list_push(&w->slot[level][s], &t->link);
    w->used[level] |= (uint64_t)1 << s;
}

/* A timer that is alone in its slot has the slot's head on both sides; clear
 * the bit of that slot, so that the loop does not wake up for it. */
void timer_wheel_remove(struct timer_wheel *w, struct loop_timer *t)
{
    struct list *next = t->link.next;
    bool alone = next != NULL && next == t->link.prev;

    list_remove(&t->link);
    if (!alone)
        return;
    uintptr_t at = (uintptr_t)next - (uintptr_t)w->slot;
    if (at >= sizeof w->slot)
        return; /* it was in w->due */
    unsigned i = (unsigned)(at / sizeof(struct list));
    w->used[i / TIMER_WHEEL_SLOTS] &= ~((uint64_t)1 << i % TIMER_WHEEL_SLOTS);
}

/* Empty one slot.  Timers of the lowest level, whose slots are one tick each,
 * become due; timers of other levels move down, so that all are called in the
 * order of their deadlines however far the time jumped. */
static void visit(struct timer_wheel *w, int level, unsigned s)
{
    struct list *l, batch;

    w->used[level] &= ~((uint64_t)1 << s);
    list_init(&batch);
    list_splice(level == 0 ? &w->due : &batch, &w->slot[level][s]);
    while ((l = list_pop(&batch)) != NULL) {
        struct loop_timer *t = LIST_ENTRY(l, struct loop_timer, link);
        timer_wheel_add(w, t, t->due);
    }
}

/* First used slot of a level, counted from `now`; returns the time at which it
 * begins. */
static bool first_used(const struct timer_wheel *w, int level, unsigned *s,
                       uint64_t *begins)
{
    int shift = TIMER_WHEEL_BITS * level;
    uint64_t at = w->now >> shift;
    unsigned from = (unsigned)at & (TIMER_WHEEL_SLOTS - 1);
    uint64_t bits = w->used[level];

    if (bits == 0)
        return false;
    if (from != 0)
        bits = bits >> from | bits << (TIMER_WHEEL_SLOTS - from);
    unsigned steps = (unsigned)__builtin_ctzll(bits);
    *s = (from + steps) & (TIMER_WHEEL_SLOTS - 1);
    *begins = (at + steps) << shift;
    if (*begins < w->now)
        *begins = w->now;
    return true;
}

static int earliest(const struct timer_wheel *w, unsigned *s, uint64_t *begins)
{
    int best = -1;

    for (int l = 0; l < TIMER_WHEEL_LEVELS; l++) {
        unsigned slot;
        uint64_t at;
        if (first_used(w, l, &slot, &at) && (best < 0 || at < *begins)) {
            best = l;
            *s = slot;
            *begins = at;
        }
    }
    return best;
}

void timer_wheel_advance(struct timer_wheel *w, uint64_t now)
{
    unsigned s;
    uint64_t begins;
    int level;

    while ((level = earliest(w, &s, &begins)) >= 0 && begins <= now) {
        w->now = begins;
        visit(w, level, s);
    }
    if (now > w->now)
        w->now = now;
}

uint64_t timer_wheel_next(const struct timer_wheel *w)
{
    unsigned s;
    uint64_t begins;

    if (!list_empty(&w->due))
        return w->now;
    return earliest(w, &s, &begins) < 0 ? UINT64_MAX : begins;
}
