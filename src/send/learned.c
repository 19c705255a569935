#include "send/learned.h"

#include <stdlib.h>

struct host {
    struct map_link link;
    struct list used;
    struct addr peer;
    struct send_limits limits;
    uint32_t until, clear_until;
};

int learned_init(struct learned *l)
{
    list_init(&l->used);
    l->n = 0;
    return map_init(&l->all, LEARNED_HOSTS_MAX);
}

static void forget(struct learned *l, struct host *h)
{
    map_remove(&l->all, &h->link);
    list_remove(&h->used);
    free(h);
    l->n--;
}

static struct host *oldest(struct learned *l)
{
    return LIST_ENTRY(l->used.next, struct host, used);
}

void learned_done(struct learned *l)
{
    while (l->n > 0)
        forget(l, oldest(l));
    map_done(&l->all);
}

static struct host *find(struct learned *l, const struct addr *peer,
                         uint32_t now)
{
    for (struct map_link *m = map_first(&l->all, addr_hash(peer)); m != NULL;
         m = map_next(m)) {
        struct host *h = MAP_ENTRY(m, struct host, link);
        if (!addr_eq(&h->peer, peer))
            continue;
        if (h->until > now)
            return h;
        forget(l, h);
        return NULL;
    }
    return NULL;
}

struct send_limits learned_get(struct learned *l, const struct addr *peer,
                               uint32_t now)
{
    struct host *h = find(l, peer, now);

    if (h == NULL)
        return (struct send_limits){ .messages = 0 };
    list_remove(&h->used);
    list_push(&l->used, &h->used);
    h->limits.no_tls = h->clear_until > now;
    h->limits.clear_until = h->clear_until;
    return h->limits;
}

static bool is_same(const struct send_limits *a, const struct send_limits *b)
{
    return a->messages == b->messages && a->rcpts == b->rcpts &&
           a->chunking == b->chunking && a->no_tls == b->no_tls &&
           a->tried_messages == b->tried_messages &&
           msg_id_eq(a->tried_id, b->tried_id);
}

static bool is_nothing(const struct send_limits *x)
{
    return x->messages == 0 && x->rcpts == 0 && x->tried_messages == 0 &&
           x->chunking == CHUNKING_UNKNOWN && !x->no_tls;
}

/* NULL: no memory. */
static struct host *add(struct learned *l, const struct addr *peer)
{
    struct host *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    if (l->n == LEARNED_HOSTS_MAX)
        forget(l, oldest(l));
    h->peer = *peer;
    map_add(&l->all, &h->link, addr_hash(peer));
    list_push(&l->used, &h->used);
    l->n++;
    return h;
}

void learned_put(struct learned *l, const struct addr *peer,
                 const struct send_limits *limits, uint32_t now)
{
    struct host *h = find(l, peer, now);

    if (h != NULL && is_same(&h->limits, limits))
        return;
    if (is_nothing(limits)) {
        if (h != NULL)
            forget(l, h);
        return;
    }
    if (h == NULL && (h = add(l, peer)) == NULL)
        return;
    if (limits->no_tls && !h->limits.no_tls)
        h->clear_until = now + LIMITS_CLEAR_SECONDS;
    h->limits = *limits;
    h->until = now + LEARNED_SECONDS;
}
