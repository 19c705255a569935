#include "serve/unknown_users.h"

#include "base/map.h"

#include <errno.h>
#include <sys/mman.h>

enum { SETS = 1024, WAYS = 4, WINDOW_MS = 10 * 60 * 1000 };

struct unknown_entry {
    volatile uint64_t until; /* ms, monotonic; the entry is free after it */
    volatile uint32_t tag;   /* the rest of the hash */
    volatile uint32_t count;
};

struct unknown_table {
    struct unknown_entry entry[SETS][WAYS];
};

int unknown_new(struct unknown_table **out, struct err *e)
{
    void *t = mmap(NULL, sizeof **out, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED)
        return err_set(e, ERR_TEMP, errno,
                       "map the table of unknown "
                       "recipients");
    (void)map_hash("", 0); /* its key must be made before the fork */
    *out = t;
    return 0;
}

void unknown_free(struct unknown_table **t)
{
    if (*t != NULL)
        munmap(*t, sizeof **t);
    *t = NULL;
}

/* The entry of the client; else a free one; else the one with the lowest
 * count. */
static struct unknown_entry *find(struct unknown_entry *set, uint32_t tag,
                                  uint64_t now)
{
    struct unknown_entry *best = set;

    for (struct unknown_entry *x = set; x < set + WAYS; x++) {
        if (x->until > now && x->tag == tag)
            return x;
        if (best->until > now && (x->until <= now || x->count < best->count))
            best = x;
    }
    best->tag = tag;
    best->count = 0;
    best->until = now + WINDOW_MS;
    return best;
}

unsigned unknown_count(struct unknown_table *t, const struct addr *client,
                       uint64_t now_ms)
{
    uint64_t hash = addr_hash_net(client);
    struct unknown_entry *x =
        find(t->entry[hash % SETS], (uint32_t)(hash >> 32), now_ms);

    return ++x->count;
}
