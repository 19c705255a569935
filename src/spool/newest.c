/* newest.c - the newest of several copies of a record.
 *
 * A crash between the commit of a copy and the unlink of the old file leaves
 * both.  The highest generation wins; among equals (reclaim tried twice) the
 * place decides, so that all readers choose the same one. */
#include "spool/newest_private.h"

#include <stdlib.h>

enum { BUCKETS = 16 * 1024 };

struct best {
    struct map_link link;
    struct msg_id id;
    uint64_t part;
    uint32_t generation;
    uint64_t segment, at;
};

static uint64_t hash_of(const struct spool_record *r)
{
    uint64_t key[3] = { r->id.base, r->id.n, r->part };

    return map_hash(key, sizeof key);
}

static struct best *find(const struct spool_newest *c,
                         const struct spool_record *r)
{
    for (struct map_link *l = map_first(&c->map, hash_of(r)); l != NULL;
         l = map_next(l)) {
        struct best *b = MAP_ENTRY(l, struct best, link);
        if (msg_id_eq(b->id, r->id) && b->part == r->part)
            return b;
    }
    return NULL;
}

static bool better(const struct best *b, const struct spool_record *r,
                   uint64_t at)
{
    if (b->generation != r->generation)
        return b->generation > r->generation;
    if (b->segment != r->segment)
        return b->segment > r->segment;
    return b->at > at;
}

bool spool_newest_note(struct spool_newest *c, const struct spool_record *r,
                       uint64_t at)
{
    if (c->map.bucket == NULL && map_init(&c->map, BUCKETS) != 0)
        return false;
    struct best *b = find(c, r);
    if (b == NULL) {
        b = calloc(1, sizeof *b);
        if (b == NULL)
            return false;
        b->id = r->id;
        b->part = r->part;
        map_add(&c->map, &b->link, hash_of(r));
        c->n++;
    } else if (better(b, r, at)) {
        return true;
    }
    b->generation = r->generation;
    b->segment = r->segment;
    b->at = at;
    return true;
}

bool spool_newest_beats(const struct spool_newest *c,
                        const struct spool_record *r, uint64_t at,
                        uint64_t *where)
{
    if (c->n == 0)
        return false;
    const struct best *b = find(c, r);
    if (b == NULL || !better(b, r, at))
        return false;
    *where = b->segment;
    return true;
}

void spool_newest_free(struct spool_newest *c)
{
    for (size_t i = 0; c->map.bucket != NULL && i <= c->map.mask; i++)
        for (struct map_link *l = c->map.bucket[i], *next; l != NULL;
             l = next) {
            next = l->next;
            free(MAP_ENTRY(l, struct best, link));
        }
    map_done(&c->map);
    c->n = 0;
}
