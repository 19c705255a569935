#include "send/due.h"

#include "base/pool.h"

#include <string.h>

/* 4 MiB of groups at the most. */
enum { GROUPS_MAX = 64 * 1024, GROUP_BUCKETS = 16 * 1024 };

int due_groups_init(struct due_groups *g)
{
    g->pool = pool_new(sizeof(struct due_group), GROUPS_MAX);
    return g->pool == NULL ? -1 : map_init(&g->all, GROUP_BUCKETS);
}

void due_groups_done(struct due_groups *g)
{
    map_done(&g->all);
    pool_free(&g->pool);
}

void due_init(struct due *d)
{
    memset(d, 0, sizeof *d);
    list_init(&d->untouched);
    list_init(&d->line);
    list_init(&d->only.rcpts);
}

/* --- groups ------------------------------------------------------------- */

static uint64_t hash_of(const struct due *d, uint32_t sender)
{
    struct {
        const struct due *due;
        uint64_t sender;
    } key = { d, sender };

    return map_hash(&key, sizeof key);
}

static struct due_group *find(const struct due_groups *g, const struct due *d,
                              uint32_t sender, uint64_t hash)
{
    for (struct map_link *l = map_first(&g->all, hash); l != NULL;
         l = map_next(l)) {
        struct due_group *x = MAP_ENTRY(l, struct due_group, link);
        if (x->due == d && x->sender == sender)
            return x;
    }
    return NULL;
}

static struct due_group *make(struct due_groups *g, struct due *d,
                              uint32_t sender, uint64_t hash)
{
    struct due_group *x = pool_get(g->pool);

    if (x == NULL)
        return &d->only;
    *x = (struct due_group){ .due = d, .sender = sender };
    list_init(&x->rcpts);
    map_add(&g->all, &x->link, hash);
    d->ngroups++;
    return x;
}

static struct due_group *group_for(struct due_groups *g, struct due *d,
                                   uint32_t sender)
{
    struct due_group *only = &d->only;
    bool is_free = list_empty(&only->rcpts);

    if (!is_free && only->sender == sender)
        return only;
    if (!is_free || d->ngroups > 0) {
        uint64_t hash = hash_of(d, sender);
        struct due_group *x = find(g, d, sender, hash);
        if (x != NULL || !is_free)
            return x != NULL ? x : make(g, d, sender, hash);
    }
    only->sender = sender;
    return only;
}

static void leave_line(struct due_groups *g, struct due *d, struct due_group *x)
{
    list_remove(&x->turn);
    if (x == &d->only)
        return;
    map_remove(&g->all, &x->link);
    pool_put(g->pool, x);
    d->ngroups--;
}

static struct due_group *first_group(struct due_groups *g, struct due *d)
{
    for (;;) {
        struct due_group *x = LIST_ENTRY(d->line.next, struct due_group, turn);
        if (!list_empty(&x->rcpts))
            return x;
        leave_line(g, d, x);
    }
}

/* --- recipients --------------------------------------------------------- */

void due_add(struct due_groups *g, struct due *d, struct rcpt *r)
{
    struct due_group *x = group_for(g, d, r->msg->u.sender);

    if (!list_linked(&x->turn))
        list_push(&d->line, &x->turn);
    list_push(&x->rcpts, &r->link);
    d->n++;
}

void due_add_untouched(struct due *d, struct rcpt *r)
{
    list_push(&d->untouched, &r->link);
    d->n++;
}

void due_add_front(struct due *d, struct rcpt *r)
{
    list_push_front(&d->untouched, &r->link);
    d->n++;
}

void due_remove(struct due_groups *g, struct due *d, struct rcpt *r)
{
    list_remove(&r->link);
    d->n--;
    while (d->n == 0 && !list_empty(&d->line))
        leave_line(g, d, LIST_ENTRY(d->line.next, struct due_group, turn));
}

static struct rcpt *first_of(const struct list *rcpts)
{
    return LIST_ENTRY(rcpts->next, struct rcpt, link);
}

struct rcpt *due_first(struct due_groups *g, struct due *d)
{
    if (!list_empty(&d->untouched))
        return first_of(&d->untouched);
    return first_of(&first_group(g, d)->rcpts);
}

struct rcpt *due_take_turn(struct due_groups *g, struct due *d)
{
    if (!list_empty(&d->untouched))
        return first_of(&d->untouched);
    struct due_group *x = first_group(g, d);
    list_remove(&x->turn);
    list_push(&d->line, &x->turn);
    return first_of(&x->rcpts);
}
