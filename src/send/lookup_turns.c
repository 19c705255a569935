#include "send/lookup_turns.h"

#include "queue/message.h"
#include "send/destination.h"

#include <stdlib.h>

enum { GROUP_BUCKETS = 1024 };

struct lookup_group {
    struct map_link link;
    struct list turn;            /* in the line */
    struct list waiting;         /* destinations, by turn */
    const struct message *owner; /* only compared; NULL: of those that failed */
    unsigned running;
};

int lookup_turns_init(struct lookup_turns *t)
{
    list_init(&t->line);
    return map_init(&t->groups, GROUP_BUCKETS);
}

static void free_group(struct lookup_turns *t, struct lookup_group *g)
{
    list_remove(&g->turn);
    map_remove(&t->groups, &g->link);
    free(g);
}

void lookup_turns_free(struct lookup_turns *t)
{
    for (size_t i = 0; t->groups.bucket != NULL && i <= t->groups.mask; i++)
        while (t->groups.bucket[i] != NULL)
            free_group(
                t, MAP_ENTRY(t->groups.bucket[i], struct lookup_group, link));
    map_done(&t->groups);
}

static struct lookup_group *group_of(struct lookup_turns *t,
                                     const struct message *owner)
{
    uint64_t hash = map_hash(&owner, sizeof owner);

    for (struct map_link *l = map_first(&t->groups, hash); l != NULL;
         l = map_next(l)) {
        struct lookup_group *g = MAP_ENTRY(l, struct lookup_group, link);
        if (g->owner == owner)
            return g;
    }
    struct lookup_group *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    g->owner = owner;
    list_init(&g->waiting);
    map_add(&t->groups, &g->link, hash);
    return g;
}

bool lookup_wait(struct lookup_turns *t, struct destination *d)
{
    const struct rcpt *first = destination_next(d);

    if (first == NULL) /* its look-up expired while its mail is parked */
        first = LIST_ENTRY(d->parked.next, struct rcpt, link);
    struct lookup_group *g = group_of(t, d->look_up_failed ? NULL : first->msg);

    if (g == NULL)
        return false;
    list_push(&g->waiting, &d->turn);
    if (!list_linked(&g->turn))
        list_push(&t->line, &g->turn);
    return true;
}

/* A destination without recipients left its group by itself, so a group in the
 * line may be empty. */
static struct destination *take(struct lookup_turns *t, struct lookup_group *g)
{
    struct list *first = list_pop(&g->waiting);

    list_remove(&g->turn);
    if (first == NULL) {
        if (g->running == 0)
            free_group(t, g);
        return NULL;
    }
    if (!list_empty(&g->waiting))
        list_push(&t->line, &g->turn);
    struct destination *d = LIST_ENTRY(first, struct destination, turn);
    d->group = g;
    g->running++;
    t->running++;
    return d;
}

/* A group that may not begin has a look-up under way, so there are never more
 * than LOOKUPS_MAX of them to pass. */
struct destination *lookup_next(struct lookup_turns *t)
{
    struct list *at = t->line.next;

    while (at != &t->line && t->running < LOOKUPS_MAX) {
        struct lookup_group *g = LIST_ENTRY(at, struct lookup_group, turn);
        at = at->next;
        if (g->running >= 2 * (LOOKUPS_MAX - t->running))
            continue;
        struct destination *d = take(t, g);
        if (d != NULL)
            return d;
    }
    return NULL;
}

void lookup_done(struct lookup_turns *t, struct destination *d)
{
    struct lookup_group *g = d->group;

    if (g == NULL)
        return;
    d->group = NULL;
    g->running--;
    t->running--;
    if (g->running == 0 && !list_linked(&g->turn))
        free_group(t, g);
}
