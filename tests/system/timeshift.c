/* timeshift.c - a library to preload: clocks that a test steers.
 *
 * TIMESHIFT_FILE names a file of two 64-bit numbers that the test changes
 * while programs run: microseconds added to the wall clock, and how many
 * times faster than real all clocks run (waits in select() and pselect()
 * shrink accordingly).  The second is read once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

struct shift {
    volatile int64_t wall_us;
    int64_t speed;
};

static int64_t real_us(clockid_t which)
{
    static int (*real)(clockid_t, struct timespec *);
    struct timespec t = { 0, 0 };

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    real(which, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static const struct shift *shift(void)
{
    static const struct shift none = { 0, 1 };
    static const struct shift *map;
    const char *path = getenv("TIMESHIFT_FILE");
    void *at = MAP_FAILED;

    if (map != NULL)
        return map;
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        at = mmap(NULL, sizeof *map, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
    }
    map = at == MAP_FAILED ? &none : at;
    return map;
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    const struct shift *s = shift();
    int64_t us = real_us(which);

    us += real_us(CLOCK_MONOTONIC) * (s->speed - 1); /* since the boot */
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)
        us += s->wall_us;
    out->tv_sec = us / 1000000;
    out->tv_nsec = us % 1000000 * 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL)
        *out = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    out->tv_sec = t.tv_sec;
    out->tv_usec = t.tv_nsec / 1000;
    return 0;
}

/* TIMESHIFT_SYNC: "yes", "no", or else it may not be asked for. */
int adjtimex(struct timex *t)
{
    static int (*real)(struct timex *);
    const char *sync = getenv("TIMESHIFT_SYNC");

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "adjtimex");
    if (sync == NULL)
        return real(t);
    if (strcmp(sync, "yes") != 0 && strcmp(sync, "no") != 0) {
        errno = EPERM;
        return -1;
    }
    t->status = sync[0] == 'y' ? 0 : STA_UNSYNC;
    return sync[0] == 'y' ? TIME_OK : TIME_ERROR;
}

int select(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict x,
           struct timeval *restrict tv)
{
    static int (*real)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    struct timeval less;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "select");
    if (tv == NULL)
        return real(n, r, w, x, NULL);
    int64_t us = tv->tv_sec * 1000000 + tv->tv_usec;
    us = (us + shift()->speed - 1) / shift()->speed;
    less.tv_sec = us / 1000000;
    less.tv_usec = us % 1000000;
    return real(n, r, w, x, &less);
}

int pselect(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict x,
            const struct timespec *restrict ts, const sigset_t *restrict mask)
{
    static int (*real)(int, fd_set *, fd_set *, fd_set *,
                       const struct timespec *, const sigset_t *);
    struct timespec less;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pselect");
    if (ts == NULL)
        return real(n, r, w, x, NULL, mask);
    int64_t ns = ts->tv_sec * 1000000000 + ts->tv_nsec;
    ns = (ns + shift()->speed - 1) / shift()->speed;
    less.tv_sec = ns / 1000000000;
    less.tv_nsec = ns % 1000000000;
    return real(n, r, w, x, &less, mask);
}
