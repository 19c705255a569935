/* test_net_loop.c - the timing wheel against a plain list; the loop with
 * real descriptors, signals and time. */
#include "net/loop.h"

#include "base/clock.h"
#include "base/os.h"
#include "few.h"
#include "net/timer_wheel.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

/* --- the wheel ------------------------------------------------------------ */

enum { TIMERS = 60, STEPS = 40000 };

static uint64_t seed;

/* xorshift64*: the same run every time. */
static uint64_t chance(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du;
}

/* Some number below 2^(0..bits), so that small and large are as likely. */
static uint64_t spread(unsigned bits)
{
    return chance() >> (63 - chance() % bits);
}

/* clang-format off */
static const struct {
    const char *name;
    uint64_t start, seed;
    unsigned delay_bits, step_bits;
} walks[] = {
    { "delays below one level, small steps", 0,          1, 6,  4 },
    { "seconds, small steps",               12345,       2, 12, 6 },
    { "minutes",                            1,           3, 18, 12 },
    { "days",                               1u << 30,    4, 30, 26 },
    { "short delays, long jumps",           63,          5, 8,  24 },
    { "beyond the wheel",                   1,           6, 45, 43 },
    { "start just before all slots wrap",   (1ull << 36) - 3, 7, 20, 14 },
};
/* clang-format on */

/* What must hold: after advancing to `now` exactly the timers with a deadline
 * not after it are out, in order; timer_wheel_next() is never after the earliest
 * deadline, and UINT64_MAX only when nothing is set. */
static void check_due(struct timer_wheel *w, struct loop_timer *t, bool *set,
                      uint64_t now, const char *name)
{
    uint64_t last = 0;
    struct list *l;

    while ((l = list_pop(&w->due)) != NULL) {
        struct loop_timer *x = LIST_ENTRY(l, struct loop_timer, link);
        ck_assert_msg(set[x - t], "%s: timer called twice", name);
        ck_assert_msg(x->due <= now, "%s: early", name);
        ck_assert_msg(x->due >= last, "%s: order", name);
        last = x->due;
        set[x - t] = false;
    }
    for (size_t i = 0; i < TIMERS; i++)
        ck_assert_msg(!set[i] || t[i].due > now, "%s: late", name);
}

static void check_next(const struct timer_wheel *w, const struct loop_timer *t,
                       const bool *set, const char *name)
{
    uint64_t first = UINT64_MAX, next = timer_wheel_next(w);

    for (size_t i = 0; i < TIMERS; i++)
        if (set[i] && t[i].due < first)
            first = t[i].due;
    ck_assert_msg(next <= first, "%s: would oversleep", name);
    ck_assert_msg((next == UINT64_MAX) == (first == UINT64_MAX),
                  "%s: wakes for nothing", name);
    ck_assert_msg(next >= w->now, "%s: next lies in the past", name);
}

START_TEST(wheel_is_a_sorted_list)
{
    const char *name = walks[_i].name;
    struct loop_timer t[TIMERS] = { 0 };
    bool set[TIMERS] = { false };
    struct timer_wheel *w = malloc(sizeof *w);
    uint64_t now = walks[_i].start;
    /* Each looks at all timers. */
    int steps = few_step() > 1 ? (int)few(STEPS) / 4 : STEPS;

    ck_assert_ptr_nonnull(w);
    seed = walks[_i].seed;
    timer_wheel_init(w, now);
    for (int step = 0; step < steps; step++) {
        size_t i = chance() % TIMERS;
        switch (chance() % 4) {
        case 0:
        case 1:
            timer_wheel_remove(w, &t[i]);
            timer_wheel_add(w, &t[i], now + spread(walks[_i].delay_bits));
            set[i] = true;
            break;
        case 2:
            timer_wheel_remove(w, &t[i]);
            set[i] = false;
            break;
        default:
            /* Sometimes just as far as the wheel says. */
            now = chance() % 3 == 0 && timer_wheel_next(w) != UINT64_MAX
                      ? timer_wheel_next(w)
                      : now + spread(walks[_i].step_bits);
            timer_wheel_advance(w, now);
            check_due(w, t, set, now, name);
        }
        check_next(w, t, set, name);
    }
    free(w);
}
END_TEST

/* A deadline costs a bounded number of wake-ups: one for each level. */
START_TEST(wheel_wakes_rarely)
{
    struct timer_wheel *w = malloc(sizeof *w);
    struct loop_timer t = { 0 };
    uint64_t due = 5 * 86400000u + 12345; /* five days */
    int wakes = 0;

    ck_assert_ptr_nonnull(w);
    timer_wheel_init(w, 777);
    timer_wheel_add(w, &t, 777 + due);
    for (; loop_timer_is_set(&t) && list_empty(&w->due); wakes++)
        timer_wheel_advance(w, timer_wheel_next(w));
    ck_assert_uint_eq(w->now, 777 + due);
    ck_assert_int_le(wakes, TIMER_WHEEL_LEVELS);
    free(w);
}
END_TEST

START_TEST(wheel_forgets_removed)
{
    struct timer_wheel *w = malloc(sizeof *w);
    struct loop_timer t[4] = { 0 };

    ck_assert_ptr_nonnull(w);
    timer_wheel_init(w, 0);
    for (size_t i = 0; i < N(t); i++)
        timer_wheel_add(w, &t[i], 5000 + i % 2);
    for (size_t i = 0; i < N(t); i++) {
        ck_assert_uint_ne(timer_wheel_next(w), UINT64_MAX);
        timer_wheel_remove(w, &t[i]);
        timer_wheel_remove(w, &t[i]); /* not set: nothing */
    }
    ck_assert_uint_eq(timer_wheel_next(w), UINT64_MAX);
    free(w);
}
END_TEST

/* --- the loop ------------------------------------------------------------- */

static struct loop *loop;
static struct err e;

struct watcher {
    struct loop_io io;
    int other; /* the end that the test uses */
    int calls;
    unsigned ready;
    void (*then)(struct watcher *self);
};

static struct watcher a, b;

static void on_io(struct loop_io *io, unsigned ready)
{
    struct watcher *w = LOOP_ENTRY(io, struct watcher, io);

    w->calls++;
    w->ready = ready;
    if (w->then != NULL)
        w->then(w);
}

static void make_pair(struct watcher *w)
{
    int fd[2];

    memset(w, 0, sizeof *w);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    w->io.fd = fd[0];
    w->io.fn = on_io;
    w->other = fd[1];
}

static void set_up(void)
{
    ck_assert_int_eq(loop_new(&loop, NULL, &e), 0);
    make_pair(&a);
    make_pair(&b);
    if (a.io.fd > b.io.fd) { /* a is looked at first */
        struct watcher swap = a;
        a = b;
        b = swap;
    }
}

static void tear_down(void)
{
    loop_free(&loop);
    ck_assert_ptr_null(loop);
    loop_free(&loop);
    close(a.io.fd);
    close(a.other);
    close(b.io.fd);
    close(b.other);
}

static void watch(struct watcher *w, unsigned want)
{
    ck_assert_msg(loop_watch(loop, &w->io, want, &e) == 0, "%s", e.text);
}

static void poke(const struct watcher *w)
{
    ck_assert_int_eq(write(w->other, "x", 1), 1);
}

static int turn(int ms)
{
    int rc = loop_turn(loop, ms, &e);

    ck_assert_msg(rc >= 0, "%s", e.text);
    return rc;
}

static const struct {
    const char *name;
    unsigned want, ready;
    bool poked;
} wants[] = {
    { "read, nothing there", LOOP_READ, 0, false },
    { "read", LOOP_READ, LOOP_READ, true },
    { "write", LOOP_WRITE, LOOP_WRITE, true },
    { "both, only room", LOOP_READ | LOOP_WRITE, LOOP_WRITE, false },
    { "both", LOOP_READ | LOOP_WRITE, LOOP_READ | LOOP_WRITE, true },
    { "none", 0, 0, true },
};

START_TEST(reports_what_is_wanted)
{
    watch(&a, LOOP_READ); /* also: a change of wishes */
    watch(&a, wants[_i].want);
    if (wants[_i].poked)
        poke(&a);
    turn(0);
    ck_assert_msg(a.ready == wants[_i].ready, "%s: %u", wants[_i].name,
                  a.ready);
    ck_assert_msg(a.calls == (wants[_i].ready != 0), "%s", wants[_i].name);
    ck_assert_uint_eq(a.io.want, wants[_i].want);
}
END_TEST

static void unwatch_b(struct watcher *self)
{
    (void)self;
    watch(&b, 0);
}

static void unwatch_and_close_both(struct watcher *self)
{
    (void)self;
    watch(&a, 0);
    watch(&b, 0);
    close(a.io.fd);
    close(b.io.fd);
    a.io.fd = b.io.fd = -1;
}

static void toggle_b(struct watcher *self)
{
    (void)self;
    watch(&b, 0);
    watch(&b, LOOP_READ);
}

static struct watcher c; /* takes over the number of b */

/* A quiet socket under the number of b, which was ready this turn. */
static void reuse_number(struct watcher *self)
{
    (void)self;
    int fd = b.io.fd;
    watch(&b, 0);
    make_pair(&c);
    ck_assert_int_eq(dup2(c.io.fd, fd), fd);
    close(c.io.fd);
    c.io.fd = fd;
    watch(&c, LOOP_READ);
}

/* The same by an owner that closed without a word before. */
static void reuse_number_rudely(struct watcher *self)
{
    (void)self;
    int fd = b.io.fd;
    make_pair(&c);
    ck_assert_int_eq(dup2(c.io.fd, fd), fd);
    close(c.io.fd);
    c.io.fd = fd;
    watch(&c, LOOP_READ);
    watch(&b, 0); /* too late: must not take the number from c */
    ck_assert_uint_eq(c.io.want, LOOP_READ);
}

/* clang-format off */
static const struct {
    const char *name;
    void (*then)(struct watcher *self); /* of a, while b is ready too */
    int b_calls, b_calls_later;
} during[] = {
    { "nothing",                          NULL,                   1, 2 },
    { "the later one is unwatched",       unwatch_b,              0, 0 },
    { "both closed",                      unwatch_and_close_both, 0, 0 },
    { "unwatched and watched: next turn", toggle_b,               0, 1 },
    { "number used again",                reuse_number,           0, 0 },
    { "number used again, no unwatch",    reuse_number_rudely,    0, 0 },
};
/* clang-format on */

START_TEST(callbacks_may_unwatch)
{
    const char *name = during[_i].name;

    memset(&c, 0, sizeof c);
    c.io.fd = -1;
    watch(&a, LOOP_READ);
    watch(&b, LOOP_READ);
    poke(&a);
    poke(&b);
    a.then = during[_i].then;
    turn(0);
    ck_assert_msg(a.calls == 1, "%s: a %d", name, a.calls);
    ck_assert_msg(b.calls == during[_i].b_calls, "%s: b %d", name, b.calls);
    ck_assert_msg(c.calls == 0, "%s: stale readiness", name);
    a.then = NULL;
    turn(0);
    ck_assert_msg(b.calls == during[_i].b_calls_later, "%s: b later %d", name,
                  b.calls);
    ck_assert_msg(c.calls == 0, "%s: stale readiness later", name);
    if (c.io.fd >= 0) {
        poke(&c);
        turn(0);
        ck_assert_msg(c.calls == 1, "%s: the new one is deaf", name);
        close(c.other);
    }
}
END_TEST

/* Words of the set that are far apart, up to the last possible one. */
START_TEST(finds_far_descriptors)
{
    static const int numbers[] = { 63,  64,  127, 128, 500,
                                   511, 640, 959, 960, FD_SETSIZE - 1 };
    struct watcher w[N(numbers)];

    if (os_want_fds(FD_SETSIZE) < FD_SETSIZE)
        return; /* the hard limit forbids the test */
    for (size_t i = 0; i < N(w); i++) {
        make_pair(&w[i]);
        ck_assert_int_eq(dup2(w[i].io.fd, numbers[i]), numbers[i]);
        close(w[i].io.fd);
        w[i].io.fd = numbers[i];
        watch(&w[i], LOOP_READ);
    }
    for (size_t i = 0; i < N(w); i++) {
        poke(&w[i]);
        turn(0);
        for (size_t k = 0; k < N(w); k++)
            ck_assert_msg(w[k].calls == (int)(k <= i ? i - k + 1 : 0),
                          "descriptor %d: %d calls", numbers[k], w[k].calls);
    }
    for (size_t i = N(w); i-- > 0;) { /* from the top: the wait shrinks */
        watch(&w[i], 0);
        w[i].calls = 0;
        turn(0);
        ck_assert_int_eq(w[i].calls, 0);
        close(w[i].io.fd);
        close(w[i].other);
    }
}
END_TEST

START_TEST(refuses_large_descriptors)
{
    enum { LARGE = 1030 };
    struct loop_io io = { .fd = LARGE, .fn = on_io };

    if (os_want_fds(LARGE + 1) < LARGE + 1)
        return;
    ck_assert_int_eq(dup2(a.io.fd, LARGE), LARGE);
    ck_assert_int_eq(loop_watch(loop, &io, LOOP_READ, &e), -1);
    ck_assert_int_eq(e.sys, EMFILE);
    ck_assert_int_eq(loop_watch(loop, &io, 0, &e), 0); /* as error paths do */
    poke(&a);
    turn(0);
    ck_assert_int_eq(a.calls, 0);
    close(LARGE);
    io.fd = -1;
    ck_assert_int_eq(loop_watch(loop, &io, LOOP_READ, &e), -1);
}
END_TEST

/* --- timers --------------------------------------------------------------- */

static struct {
    struct loop_timer timer;
    int calls, again;
    uint64_t delay, at;
} tick;

static void on_tick(struct loop_timer *t)
{
    ck_assert(!loop_timer_is_set(t));
    ck_assert_uint_le(t->due, loop_now(loop));
    tick.calls++;
    tick.at = clock_mono_ms();
    if (tick.again-- > 0)
        loop_timer_set(loop, t, tick.delay);
}

static void start_tick(uint64_t delay, int again)
{
    memset(&tick, 0, sizeof tick);
    tick.timer.fn = on_tick;
    tick.delay = delay;
    tick.again = again;
    loop_timer_set(loop, &tick.timer, delay);
}

static const struct {
    const char *name;
    uint64_t delay;
    int again;
} ticks[] = {
    { "at once", 0, 0 },         { "one ms", 1, 0 },
    { "across a level", 70, 0 }, { "again inside the callback", 7, 9 },
    { "again at once", 0, 5 },
};

START_TEST(timers_are_not_early)
{
    uint64_t start = loop_now(loop);
    int want = 1 + ticks[_i].again;

    start_tick(ticks[_i].delay, ticks[_i].again);
    for (int n = 0; tick.calls < want; n++) {
        int before = tick.calls;
        turn(-1);
        ck_assert_msg(tick.calls <= before + 1, "%s: twice in a turn",
                      ticks[_i].name);
        ck_assert_msg(n < 1000, "%s: the loop spins", ticks[_i].name);
    }
    ck_assert_msg(tick.at >= start + ticks[_i].delay * (uint64_t)want,
                  "%s: early", ticks[_i].name);
    ck_assert(!loop_timer_is_set(&tick.timer));
}
END_TEST

static struct loop_timer other;

static void clear_other(struct loop_timer *t)
{
    (void)t;
    tick.calls++;
    loop_timer_clear(loop, &other);
}

/* Both are due in the same turn; the first one takes back the second. */
START_TEST(timers_may_be_cleared_when_due)
{
    start_tick(0, 0);
    tick.timer.fn = clear_other;
    other = (struct loop_timer){ .fn = on_tick };
    loop_timer_set(loop, &other, 0);
    turn(0);
    ck_assert_int_eq(tick.calls, 1);
    ck_assert(!loop_timer_is_set(&other));
    turn(0);
    ck_assert_int_eq(tick.calls, 1);
}
END_TEST

START_TEST(waits_no_longer_than_told)
{
    uint64_t before = clock_mono_ms();

    start_tick(UINT64_MAX, 0); /* far away, and no overflow */
    ck_assert_int_eq(turn(20), 0);
    ck_assert_uint_ge(clock_mono_ms() - before, 20);
    ck_assert_int_eq(tick.calls, 0);
    before = clock_mono_ms();
    loop_timer_set(loop, &tick.timer, 10); /* earlier than before */
    while (tick.calls == 0)
        turn(60000);
    ck_assert_uint_lt(clock_mono_ms() - before, 30000);
}
END_TEST

static uint64_t turn_takes(int ms)
{
    uint64_t before = clock_mono_ms();

    turn(ms);
    return clock_mono_ms() - before;
}

START_TEST(rests_before_it_waits)
{
    enum { SHORT = 20, LONG = 5000 };

    watch(&a, LOOP_READ);
    loop_rest(loop, SHORT * 1000);
    ck_assert_uint_ge(turn_takes(1), SHORT);
    loop_rest(loop, LONG * 1000);
    ck_assert_uint_lt(turn_takes(0), LONG); /* a poll */
    poke(&a);
    ck_assert_uint_lt(turn_takes(LONG), LONG); /* ready already */
    ck_assert_int_eq(a.calls, 1);
    watch(&a, 0);
    loop_rest(loop, 0);
    ck_assert_uint_lt(turn_takes(1), LONG);
}
END_TEST

/* --- signals -------------------------------------------------------------- */

static volatile sig_atomic_t alarms;

static void on_alarm(int signo)
{
    (void)signo;
    alarms++;
}

/* Rings again and again: one that rings before the wait began is no loss. */
static void ring(void)
{
    struct itimerval every = { { 0, 5000 }, { 0, 5000 } };

    alarms = 0;
    os_signal(SIGALRM, on_alarm);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static void ring_no_more(void)
{
    struct itimerval off = { { 0, 0 }, { 0, 0 } };

    setitimer(ITIMER_REAL, &off, NULL);
    os_signal(SIGALRM, SIG_IGN); /* one may be on its way */
}

START_TEST(signal_ends_select)
{
    watch(&a, LOOP_READ);
    ring();
    ck_assert_int_eq(turn(-1), 1);
    ring_no_more();
    ck_assert_int_ge((int)alarms, 1);
    ck_assert_int_eq(a.calls, 0);
    poke(&a); /* and all is well afterwards */
    turn(-1);
    ck_assert_int_eq(a.calls, 1);
}
END_TEST

/* Blocked outside, open in the wait: a signal that came before counts. */
START_TEST(signal_ends_pselect)
{
    sigset_t block, old;
    struct loop *l;

    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &old);
    alarms = 0;
    os_signal(SIGUSR1, on_alarm);
    ck_assert_int_eq(loop_new(&l, &old, &e), 0);
    raise(SIGUSR1);
    ck_assert_int_eq((int)alarms, 0);
    ck_assert_int_eq(loop_turn(l, -1, &e), 1);
    ck_assert_int_eq((int)alarms, 1);
    ck_assert_int_eq(loop_turn(l, 0, &e), 0);
    loop_free(&l);
    os_signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old, NULL);
}
END_TEST

/* A closed descriptor that is still watched is a bug of its owner: told, not
 * waited on. */
START_TEST(failed_wait_is_told)
{
    watch(&a, LOOP_READ);
    close(a.io.fd);
    ck_assert_int_eq(loop_turn(loop, 0, &e), -1);
    ck_assert_int_eq(e.sys, EBADF);
    watch(&a, 0);
    a.io.fd = -1;
    turn(0);
}
END_TEST

Suite *net_loop_suite(void);
Suite *net_loop_suite(void)
{
    Suite *s = suite_create("net.loop");
    TCase *wheel = tcase_create("wheel");
    tcase_set_timeout(wheel, 60);
    tcase_add_loop_test(wheel, wheel_is_a_sorted_list, 0, N(walks));
    tcase_add_test(wheel, wheel_wakes_rarely);
    tcase_add_test(wheel, wheel_forgets_removed);
    suite_add_tcase(s, wheel);
    TCase *t = tcase_create("loop");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, reports_what_is_wanted, 0, N(wants));
    tcase_add_loop_test(t, callbacks_may_unwatch, 0, N(during));
    tcase_add_test(t, finds_far_descriptors);
    tcase_add_test(t, refuses_large_descriptors);
    tcase_add_loop_test(t, timers_are_not_early, 0, N(ticks));
    tcase_add_test(t, timers_may_be_cleared_when_due);
    tcase_add_test(t, waits_no_longer_than_told);
    tcase_add_test(t, rests_before_it_waits);
    tcase_add_test(t, signal_ends_select);
    tcase_add_test(t, signal_ends_pselect);
    tcase_add_test(t, failed_wait_is_told);
    suite_add_tcase(s, t);
    return s;
}
