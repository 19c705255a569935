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
    struct spool_record rec;
    uint64_t at;
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
        if (msg_id_eq(b->rec.id, r->id) && b->rec.part == r->part)
            return b;
    }
    return NULL;
}

bool spool_newest_is_better(const struct spool_record *a, uint64_t a_at,
                            const struct spool_record *r, uint64_t at)
{
    if (a->generation != r->generation)
        return a->generation > r->generation;
    if (a->segment != r->segment)
        return a->segment > r->segment;
    return a_at > at;
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
        map_add(&c->map, &b->link, hash_of(r));
        c->n++;
    } else if (spool_newest_is_better(&b->rec, b->at, r, at)) {
        return true;
    }
    b->rec = *r;
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
    if (b == NULL || !spool_newest_is_better(&b->rec, b->at, r, at))
        return false;
    *where = b->rec.segment;
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
