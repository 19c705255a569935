#include "net/loop.h"

#include "base/clock.h"
#include "base/os.h"
#include "net/timer_wheel.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

/* fd_set is an array of words with the bits in order, on every system where
 * select() takes the usual macros; the words are read with memcpy. */
enum {
    WORD_BITS = (int)(sizeof(unsigned long) * CHAR_BIT),
    WORDS = FD_SETSIZE / WORD_BITS
};

struct loop {
    fd_set want[2], ready[2]; /* read, write */
    struct loop_io *io[FD_SETSIZE];
    int nready;
    long rest_us;
    int max_fd; /* no watched descriptor is higher; exact during the wait */
    uint64_t now;
    bool has_mask;
    sigset_t mask;
    struct timer_wheel wheel;
};

int loop_new(struct loop **out, const sigset_t *wait_mask, struct err *e)
{
    struct loop *l = calloc(1, sizeof *l);

    if (l == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a loop");
    for (int i = 0; i < 2; i++) {
        FD_ZERO(&l->want[i]);
        FD_ZERO(&l->ready[i]);
    }
    l->max_fd = -1;
    l->has_mask = wait_mask != NULL;
    if (wait_mask != NULL)
        l->mask = *wait_mask;
    l->now = clock_mono_ms();
    timer_wheel_init(&l->wheel, l->now);
    *out = l;
    return 0;
}

void loop_free(struct loop **l)
{
    free(*l);
    *l = NULL;
}

uint64_t loop_now(const struct loop *l)
{
    return l->now;
}

int loop_nready(const struct loop *l)
{
    return l->nready;
}

static void set_bit(fd_set *s, int fd, bool on)
{
    if (on)
        FD_SET(fd, s);
    else
        FD_CLR(fd, s);
}

/* Drop the ready bits of a descriptor when its watcher or its events change: it
 * may be closed before the next poll, and its number belong to another
 * watcher. */
static void forget_ready(struct loop *l, int fd, unsigned keep)
{
    if (!(keep & LOOP_READ))
        FD_CLR(fd, &l->ready[0]);
    if (!(keep & LOOP_WRITE))
        FD_CLR(fd, &l->ready[1]);
}

int loop_watch(struct loop *l, struct loop_io *io, unsigned want, struct err *e)
{
    bool fits = io->fd >= 0 && io->fd < FD_SETSIZE;

    if (want != 0 && !fits)
        return err_set(e, ERR_TEMP, EMFILE,
                       "descriptor %d does not fit select()", io->fd);
    io->want = want;
    if (!fits || (want == 0 && l->io[io->fd] != io))
        return 0; /* never watched, or the number has another owner now */
    forget_ready(l, io->fd, l->io[io->fd] == io ? want : 0);
    set_bit(&l->want[0], io->fd, want & LOOP_READ);
    set_bit(&l->want[1], io->fd, want & LOOP_WRITE);
    l->io[io->fd] = want == 0 ? NULL : io;
    if (want != 0 && io->fd > l->max_fd)
        l->max_fd = io->fd;
    return 0;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms)
{
    uint64_t most = UINT64_MAX - l->now;

    loop_timer_clear(l, t);
    timer_wheel_add(&l->wheel, t, l->now + (delay_ms < most ? delay_ms : most));
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    timer_wheel_remove(&l->wheel, t);
}

bool loop_timer_is_set(const struct loop_timer *t)
{
    return list_linked(&t->link);
}

static int64_t wait_ms(const struct loop *l, int max_wait_ms)
{
    uint64_t next = timer_wheel_next(&l->wheel);

    if (next == UINT64_MAX)
        return max_wait_ms;
    /* Read the clock, because the callbacks of this turn may have taken a
     * while. */
    uint64_t now = clock_mono_ms();
    uint64_t wait = next > now ? next - now : 0;
    if (max_wait_ms >= 0 && wait > (uint64_t)max_wait_ms)
        return max_wait_ms;
    return wait > 3600000 ? 3600000 : (int64_t)wait;
}

static unsigned long word_of(const fd_set *s, int word)
{
    unsigned long w;

    memcpy(&w, (const char *)s + (size_t)word * sizeof w, sizeof w);
    return w;
}

/* Search by words from the top, which is cheap even after many were
 * unwatched. */
static void lower_max_fd(struct loop *l)
{
    while (l->max_fd >= 0) {
        int w = l->max_fd / WORD_BITS;
        unsigned long bits = word_of(&l->want[0], w) | word_of(&l->want[1], w);
        if (bits != 0) {
            l->max_fd = (w + 1) * WORD_BITS - 1 - __builtin_clzl(bits);
            return;
        }
        l->max_fd = w * WORD_BITS - 1;
    }
}

void loop_rest(struct loop *l, long us)
{
    l->rest_us = us;
}

static int poll_all(struct loop *l, int64_t ms)
{
    size_t used = (size_t)(l->max_fd / WORD_BITS + 1) * sizeof(long);

    if (l->max_fd < 0)
        used = 0;
    for (int i = 0; i < 2; i++)
        memcpy(&l->ready[i], &l->want[i], used);
    if (l->has_mask) {
        struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };
        return pselect(l->max_fd + 1, &l->ready[0], &l->ready[1], NULL,
                       ms < 0 ? NULL : &ts, &l->mask);
    }
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
    return select(l->max_fd + 1, &l->ready[0], &l->ready[1], NULL,
                  ms < 0 ? NULL : &tv);
}

static int wait_for_events(struct loop *l, int64_t ms)
{
    if (l->rest_us > 0 && ms != 0) {
        int n = poll_all(l, 0);
        if (n != 0)
            return n;
        os_pause(l->rest_us);
    }
    return poll_all(l, ms);
}

static void call(struct loop *l, int fd)
{
    struct loop_io *io = l->io[fd];
    unsigned ready = 0;

    if (FD_ISSET(fd, &l->ready[0]))
        ready |= LOOP_READ;
    if (FD_ISSET(fd, &l->ready[1]))
        ready |= LOOP_WRITE;
    FD_CLR(fd, &l->ready[0]);
    FD_CLR(fd, &l->ready[1]);
    if (io != NULL && (ready & io->want) != 0)
        io->fn(io, ready & io->want);
}

/* Read the word again after each call, because callbacks clear bits. */
static void call_ready(struct loop *l, int last_fd)
{
    for (int w = 0; w <= last_fd / WORD_BITS; w++) {
        unsigned long bits;
        while ((bits = word_of(&l->ready[0], w) | word_of(&l->ready[1], w)) !=
               0)
            call(l, w * WORD_BITS + __builtin_ctzl(bits));
    }
}

static void call_due(struct loop *l)
{
    struct list *link;

    timer_wheel_advance(&l->wheel, l->now);
    while ((link = list_pop(&l->wheel.due)) != NULL) {
        struct loop_timer *t = LIST_ENTRY(link, struct loop_timer, link);
        t->fn(t);
    }
}

int loop_turn(struct loop *l, int max_wait_ms, struct err *e)
{
    lower_max_fd(l);
    int last = l->max_fd; /* callbacks may raise it */
    int n = wait_for_events(l, wait_ms(l, max_wait_ms));
    int why = errno;

    l->now = clock_mono_ms();
    l->nready = n < 0 ? 0 : n;
    if (n < 0) {
        for (int i = 0; i < 2; i++)
            FD_ZERO(&l->ready[i]);
        if (why != EINTR)
            return err_set(e, ERR_BUG, why, "wait for events");
    }
    if (n > 0)
        call_ready(l, last);
    call_due(l);
    return n < 0;
}
