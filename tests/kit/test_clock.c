#include "test_clock.h"

#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

/* What all clocks are ahead of the kernel's, or of where they were stopped. */
static volatile int64_t ahead_ns;
static volatile int64_t stopped_mono, stopped_wall; /* 0: they go */

static int64_t real_ns(clockid_t which)
{
    struct timespec t = { 0, 0 };

    (void)syscall(SYS_clock_gettime, which, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* In the place of libc's, for program and libraries. */
int clock_gettime(clockid_t which, struct timespec *out)
{
    if (which != CLOCK_MONOTONIC && which != CLOCK_REALTIME)
        return (int)syscall(SYS_clock_gettime, which, out);
    int64_t ns = which == CLOCK_MONOTONIC ? stopped_mono : stopped_wall;
    ns = (ns != 0 ? ns : real_ns(which)) + ahead_ns;
    out->tv_sec = ns / SECOND;
    out->tv_nsec = ns % SECOND;
    return 0;
}

void test_clock_stop(void)
{
    if (stopped_mono != 0)
        return;
    stopped_wall = real_ns(CLOCK_REALTIME);
    stopped_mono = real_ns(CLOCK_MONOTONIC);
}

void test_clock_pass_ms(uint64_t ms)
{
    ahead_ns += (int64_t)ms * (SECOND / 1000);
}

void test_clock_go_on(void)
{
    if (stopped_mono == 0)
        return;
    ahead_ns -= real_ns(CLOCK_MONOTONIC) - stopped_mono;
    stopped_mono = stopped_wall = 0;
}

uint64_t test_clock_real_ms(void)
{
    return (uint64_t)real_ns(CLOCK_MONOTONIC) / (SECOND / 1000);
}
