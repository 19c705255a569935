/* tls_memory.c - slots of two sizes for OpenSSL, in one mapping.  Any thread
 * may call them. */
#include "net/tls_memory.h"

#include "net/tls_private.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Inlined, they would save registers for each of the small requests, of which
 * a handshake makes a thousand. */
#define OUT_OF_LINE __attribute__((noinline))

/* Free slots whose pages stay, so that handshakes one after the other, and
 * records, cost no system call and no page fault. */
enum { WARM = 32 };
enum { SLOTS_MAX = 2048 };
enum { LEAST = 4096 };

/* A request of `least` to `size` octets fits.  Without a free slot it is met
 * from the heap. */
struct slots {
    size_t least, size, count;
    char *base;
    size_t nfree, ncold;            /* cold: the system has the pages */
    unsigned short free[SLOTS_MAX]; /* the cold ones first */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct slots kinds[] = {
    /* What is sent in a handshake is collected here: two for each. */
    { .least = LEAST, .size = 4096, .count = SLOTS_MAX },
    /* A message of a handshake, 4/3 of 16 KiB, for its duration; a record, for
     * that of one call. */
    { .least = 16384, .size = 24576, .count = SLOTS_MAX / 2 },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static char *room; /* with all slots */
static size_t room_size;

/* --- slots ---------------------------------------------------------------- */

static struct slots *kind_for(size_t n)
{
    for (size_t i = 0; i < KINDS; i++)
        if (n >= kinds[i].least && n <= kinds[i].size)
            return &kinds[i];
    return NULL;
}

static bool is_slot(const void *p)
{
    return (uintptr_t)p - (uintptr_t)room < room_size;
}

static struct slots *kind_of(const void *slot)
{
    return (const char *)slot < kinds[1].base ? &kinds[0] : &kinds[1];
}

static void *take(struct slots *s)
{
    void *p = NULL;

    pthread_mutex_lock(&lock);
    if (s->nfree > 0)
        p = s->base + s->free[--s->nfree] * s->size;
    if (s->nfree < s->ncold)
        s->ncold = s->nfree;
    pthread_mutex_unlock(&lock);
    return p;
}

static OUT_OF_LINE void put(char *p)
{
    struct slots *s = kind_of(p);
    unsigned short slot = (unsigned short)((size_t)(p - s->base) / s->size);

    pthread_mutex_lock(&lock);
    s->free[s->nfree++] = slot;
    if (s->nfree - s->ncold > WARM && madvise(p, s->size, MADV_DONTNEED) == 0) {
        s->free[s->nfree - 1] = s->free[s->ncold];
        s->free[s->ncold++] = slot;
    }
    pthread_mutex_unlock(&lock);
}

/* --- for OpenSSL ---------------------------------------------------------- */

static OUT_OF_LINE void *get_large(size_t n)
{
    struct slots *s = kind_for(n);
    void *p = s == NULL ? NULL : take(s);

    return p != NULL ? p : malloc(n);
}

/* A handshake has a thousand small pieces, which this and free_memory() are to
 * cost next to nothing. */
static void *get_memory(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    if (n >= LEAST)
        return get_large(n);
    return n == 0 ? NULL : malloc(n);
}

static void free_memory(void *p, const char *file, int line)
{
    (void)file, (void)line;
    if (is_slot(p))
        put(p);
    else
        free(p);
}

/* What is in the heap stays there: its size is not known here. */
static void *resize_memory(void *old, size_t n, const char *file, int line)
{
    if (old == NULL)
        return get_memory(n, file, line);
    if (n == 0) {
        free_memory(old, file, line);
        return NULL;
    }
    if (!is_slot(old))
        return BANNED_REALLOC(old, n);
    struct slots *s = kind_of(old);
    if (n <= s->size)
        return old;
    void *p = get_memory(n, file, line);
    if (p == NULL)
        return NULL;
    memcpy(p, old, s->size);
    free_memory(old, file, line);
    return p;
}

void tls_memory_reserve(void)
{
    size_t n = 0;

    for (size_t i = 0; i < KINDS; i++)
        n += kinds[i].count * kinds[i].size;
    char *at = mmap(NULL, n, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return;
#ifdef MADV_NOHUGEPAGE
    (void)madvise(at, n, MADV_NOHUGEPAGE); /* a slot is all that one needs */
#endif
    room = at;
    for (size_t k = 0; k < KINDS; k++) {
        struct slots *s = &kinds[k];
        for (size_t i = 0; i < s->count; i++)
            s->free[i] = (unsigned short)i;
        s->nfree = s->ncold = s->count;
        s->base = at;
        at += s->count * s->size;
    }
    room_size = n; /* from now on there are slots */
}

bool tls_memory_start(void)
{
    return CRYPTO_set_mem_functions(get_memory, resize_memory, free_memory) ==
           1;
}
