/* leap.c - a library to preload: clocks that leap over the time in which
 * nothing happens.
 *
 * LEAP_FILE names a map that all programs of a run share.  All clocks go SLOWER
 * than the real ones, so that a machine with much else to do seems fast, and
 * show an offset in the map, too.  A thread that waits in select() or pselect()
 * notes in a slot until when: the test, which sees that all of them wait and no
 * socket has anything, moves the offset to the first of these times. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 4095, SLICE_US = 1000, SLOWER = 8 };

struct slot {
    int64_t pid;
    volatile int64_t until_us; /* monotonic; 0: does not wait */
    volatile int64_t waits;    /* so far */
};

struct map {
    volatile int64_t offset_us;
    volatile int64_t nslots;
    int64_t mono_us, wall_us; /* when the run began */
    struct slot slot[SLOTS];
};

static struct map *map;
static __thread struct slot *own;

static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_pselect)(int, fd_set *, fd_set *, fd_set *,
                           const struct timespec *, const sigset_t *);

static void find(void)
{
    *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_pselect = dlsym(RTLD_NEXT, "pselect");
}

/* The thread that forked goes on in the child, which is another process. */
static void in_child(void)
{
    own = NULL;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("LEAP_FILE");
    void *at = MAP_FAILED;
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd >= 0) {
        at = mmap(NULL, sizeof *map, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    if (at != MAP_FAILED)
        map = at;
    pthread_atfork(NULL, NULL, in_child);
}

static int64_t now_us(clockid_t which)
{
    struct timespec t = { 0, 0 };

    if (real_clock == NULL)
        find();
    real_clock(which, &t);
    int64_t us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    if (map == NULL)
        return us;
    int64_t begin = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE
                        ? map->wall_us
                        : map->mono_us;
    return begin + (us - begin) / SLOWER + map->offset_us;
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    if (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC &&
        which != CLOCK_REALTIME_COARSE && which != CLOCK_MONOTONIC_COARSE) {
        if (real_clock == NULL)
            find();
        return real_clock(which, out);
    }
    int64_t us = now_us(which);
    out->tv_sec = us / 1000000;
    out->tv_nsec = us % 1000000 * 1000;
    return 0;
}

time_t time(time_t *out)
{
    time_t t = now_us(CLOCK_REALTIME) / 1000000;

    if (out != NULL)
        *out = t;
    return t;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    int64_t us = now_us(CLOCK_REALTIME);

    (void)zone;
    out->tv_sec = us / 1000000;
    out->tv_usec = us % 1000000;
    return 0;
}

static void note(int64_t until_us)
{
    if (map == NULL)
        return;
    if (own == NULL) {
        int64_t i = __sync_fetch_and_add(&map->nslots, 1);
        own = &map->slot[i < SLOTS ? i : SLOTS - 1];
        own->pid = getpid();
    }
    own->until_us = until_us;
    own->waits += until_us != 0;
}

/* Wait in slices, because nothing wakes the wait when the offset moves. */
int pselect(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict x,
            const struct timespec *restrict ts, const sigset_t *restrict mask)
{
    fd_set *set[3] = { r, w, x }, asked[3];
    int64_t until = INT64_MAX;
    int rc;

    if (real_pselect == NULL)
        find();
    if (ts != NULL)
        until = now_us(CLOCK_MONOTONIC) + (int64_t)ts->tv_sec * 1000000 +
                ts->tv_nsec / 1000;
    for (int i = 0; i < 3; i++)
        if (set[i] != NULL)
            memcpy(&asked[i], set[i], sizeof asked[i]);
    note(until);
    for (;;) {
        int64_t left = until - now_us(CLOCK_MONOTONIC);
        left = left < 0 ? 0 : left < SLICE_US ? left : SLICE_US;
        struct timespec slice = { 0, left * 1000 };
        for (int i = 0; i < 3; i++)
            if (set[i] != NULL)
                memcpy(set[i], &asked[i], sizeof asked[i]);
        rc = real_pselect(n, r, w, x, &slice, mask);
        if (rc != 0 || now_us(CLOCK_MONOTONIC) >= until)
            break;
    }
    note(0);
    return rc;
}

int select(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict x,
           struct timeval *restrict tv)
{
    struct timespec ts;

    if (tv == NULL)
        return pselect(n, r, w, x, NULL, NULL);
    ts.tv_sec = tv->tv_sec;
    ts.tv_nsec = tv->tv_usec * 1000;
    return pselect(n, r, w, x, &ts, NULL);
}
