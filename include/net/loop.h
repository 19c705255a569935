/* net/loop.h - wait for descriptors and deadlines in select() or pselect().
 *
 * The owner of a loop calls loop_turn() in its own `for (;;)`, so what must
 * happen once per turn (commit, log_flush) stands there in plain sight.
 * Nothing in a turn is proportional to the number of idle connections but
 * the select() call itself: deadlines are in a timing wheel (Varghese and
 * Lauck, "Hashed and hierarchical timing wheels"), ready descriptors are
 * found by words of the set.  Not for threads: one loop, one thread. */
#ifndef MTA_NET_LOOP_H
#define MTA_NET_LOOP_H

#include "base/err.h"
#include "base/list.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

/* One descriptor; stands in the object that owns it and must not move while
 * watched.  fn may unwatch and close any descriptor, its own included. */
struct loop_io {
    int fd;
    unsigned want; /* set by loop_watch() */
    void (*fn)(struct loop_io *io, unsigned ready);
};

/* One deadline; same rules.  fn is called once, with the timer unset. */
struct loop_timer {
    struct list link;
    uint64_t due; /* ms, monotonic; valid while set */
    void (*fn)(struct loop_timer *t);
};

#define LOOP_ENTRY(member_ptr, type, member)                                   \
    ((type *)(void *)((char *)(member_ptr)-offsetof(type, member)))

/* wait_mask NULL: the loop waits in select().  Otherwise in pselect() with
 * that mask, for an owner that keeps its signals blocked outside the wait. */
int loop_new(struct loop **l, const sigset_t *wait_mask, struct err *e);
void loop_free(struct loop **l); /* accepts NULL; leaves NULL */

/* Watch io->fd for `want` (0: stop watching; the io may then be thrown
 * away).  -1 with *e when fd >= FD_SETSIZE: refused before it can corrupt a
 * set.  Changing `want` of a watched io cannot fail. */
int loop_watch(struct loop *l, struct loop_io *io, unsigned want,
               struct err *e);

/* (Re)arm for now + delay_ms; clearing an unset timer is fine. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms);
void loop_timer_clear(struct loop *l, struct loop_timer *t);
bool loop_timer_is_set(const struct loop_timer *t);

/* The monotonic time in ms, read once per turn. */
uint64_t loop_now(const struct loop *l);

/* How many events the last turn found ready. */
int loop_nready(const struct loop *l);

/* When nothing is ready, sleep for so many us before the wait, from now on:
 * more is ready then, in fewer turns, each of them later.  0: do not. */
void loop_rest(struct loop *l, long us);

/* Wait until a descriptor is ready, a deadline passes or max_wait_ms are over
 * (-1: no limit; 0: poll), call the functions, return.  0; 1 when a signal
 * ended the wait; -1 with *e when the wait itself failed. */
int loop_turn(struct loop *l, int max_wait_ms, struct err *e);
#endif
