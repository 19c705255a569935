/* base/map.h - find an element by key; the link stands in the element.
 *
 * A fixed number of buckets, chosen by the owner; nothing grows and adding
 * cannot fail.  Hashes are keyed with a secret of the process, so a peer
 * cannot choose names that fall into one bucket. */
#ifndef MTA_BASE_MAP_H
#define MTA_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_link {
    struct map_link *next;
    uint64_t hash;
};

struct map {
    struct map_link **bucket;
    size_t mask, n;
};

/* buckets is rounded up to a power of two. */
int map_init(struct map *m, size_t buckets); /* 0, or -1: no memory */
void map_done(struct map *m);                /* elements are the owner's */

uint64_t map_hash(const void *key, size_t n);        /* SipHash-2-4 */
uint64_t map_hash_nocase(const char *key, size_t n); /* ASCII, n <= 1024 */

void map_add(struct map *m, struct map_link *link, uint64_t hash);
void map_remove(struct map *m, struct map_link *link); /* must be in m */

/* First element with that hash, then the next one: the caller compares keys.
 *   for (l = map_first(m, h); l != NULL; l = map_next(l)) ... */
struct map_link *map_first(const struct map *m, uint64_t hash);
struct map_link *map_next(const struct map_link *link);

#define MAP_ENTRY(link, type, member)                                          \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))
#endif
