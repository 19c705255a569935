#include "recipient/full_page.h"

#include "base/map.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

enum { ENTRIES = 4096 }; /* a power of two */

/* Relaxed atomics: the fields of an entry need not fit together, because a
 * reader only compares the hash and then the time. */
struct full_page {
    uint64_t disk_until;
    struct {
        uint64_t hash, until;
    } entry[ENTRIES];
};

int full_page_new(struct full_page **out, struct err *e)
{
    struct full_page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_set(e, ERR_TEMP, errno, "map memory for full mailboxes");
    /* The key of hashes is made at the first one, and has to be the same in
     * all processes. */
    (void)map_hash("", 0);
    *out = p;
    return 0;
}

void full_page_free(struct full_page **p)
{
    if (*p != NULL)
        munmap(*p, sizeof **p);
    *p = NULL;
}

static void put(uint64_t *to, uint64_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

static uint64_t get(const uint64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_RELAXED);
}

void full_page_set_disk(struct full_page *p, uint64_t until_ms)
{
    put(&p->disk_until, until_ms);
}

void full_page_clear_disk(struct full_page *p)
{
    put(&p->disk_until, 0);
}

bool full_page_disk(const struct full_page *p, uint64_t now_ms)
{
    return now_ms < get(&p->disk_until);
}

void full_page_set_mailbox(struct full_page *p, const char *key,
                           uint64_t until_ms)
{
    uint64_t hash = map_hash(key, strlen(key));
    size_t i = hash % ENTRIES;

    put(&p->entry[i].until, 0); /* of the one before */
    put(&p->entry[i].hash, hash);
    put(&p->entry[i].until, until_ms);
}

void full_page_clear_mailbox(struct full_page *p, const char *key)
{
    uint64_t hash = map_hash(key, strlen(key));

    if (get(&p->entry[hash % ENTRIES].hash) == hash)
        put(&p->entry[hash % ENTRIES].until, 0);
}

bool full_page_mailbox(const struct full_page *p, const char *key,
                       uint64_t now_ms)
{
    uint64_t hash = map_hash(key, strlen(key));

    return now_ms < get(&p->entry[hash % ENTRIES].until) &&
           get(&p->entry[hash % ENTRIES].hash) == hash;
}
