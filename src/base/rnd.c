#include "base/rnd.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>
#include <sysexits.h>
#include <unistd.h>

/* One batch for each thread: no lock, and no thread sees another's bytes. */
static __thread struct {
    unsigned char bytes[256];
    size_t left;
} batch;

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A child has one thread, the one that forked: it must not draw what its
 * parent draws. */
static void in_child(void)
{
    batch.left = 0;
}

/* Ids and ports must not become guessable. */
static void give_up(const char *what, int why)
{
    fprintf(stderr, "mta: no random numbers: %s: %s\n", what, strerror(why));
    _exit(EX_OSERR);
}

static void watch_forks(void)
{
    int why = pthread_atfork(NULL, NULL, in_child);

    if (why != 0)
        give_up("pthread_atfork", why);
}

static void from_kernel(unsigned char *out, size_t n)
{
    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            give_up("getrandom", errno);
        out += got;
        n -= (size_t)got;
    }
}

void rnd_bytes(void *out, size_t n)
{
    if (n > sizeof batch.bytes / 2) {
        from_kernel(out, n);
        return;
    }
    pthread_once(&once, watch_forks);
    if (batch.left < n) {
        from_kernel(batch.bytes, sizeof batch.bytes);
        batch.left = sizeof batch.bytes;
    }
    batch.left -= n;
    memcpy(out, batch.bytes + batch.left, n);
}

uint32_t rnd_u32(void)
{
    uint32_t v;

    rnd_bytes(&v, sizeof v);
    return v;
}

uint64_t rnd_u64(void)
{
    uint64_t v;

    rnd_bytes(&v, sizeof v);
    return v;
}

uint32_t rnd_below(uint32_t limit)
{
    uint32_t skip = (uint32_t)(-limit) % limit; /* 2^32 mod limit */
    uint32_t v;

    do
        v = rnd_u32();
    while (v < skip);
    return v % limit;
}
