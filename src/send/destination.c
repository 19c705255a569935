/* destination.c - hosts for the mail of a domain, and its due recipients. */
#include "send/sched.h"

#include "log/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    IDLE_SECONDS = 60, /* a destination without mail is remembered */
    ANSWERS_PER_TURN = 256
};

/* --- finding --------------------------------------------------------------*/

static uint64_t hash_of(const struct route *r)
{
    uint64_t h = map_hash_nocase(r->host, strlen(r->host));

    return h ^ ((uint64_t)r->kind << 16 | r->port) * 0x9e3779b97f4a7c15u;
}

static struct dest *find(const struct sched *s, const struct route *r,
                         uint64_t hash)
{
    for (struct map_link *l = map_first(&s->dests, hash); l != NULL;
         l = map_next(l)) {
        struct dest *d = MAP_ENTRY(l, struct dest, link);
        if (d->kind == r->kind && d->port == r->port && d->why == r->why &&
            strcmp(d->host, r->host) == 0)
            return d;
    }
    return NULL;
}

static struct dest *make(struct sched *s, const struct route *r, uint64_t hash)
{
    size_t n = strlen(r->host) + 1;
    struct dest *d = calloc(1, sizeof *d + n);

    if (d == NULL)
        return NULL;
    memcpy(d->host, r->host, n);
    d->sched = s;
    d->kind = (uint8_t)r->kind;
    d->port = r->port;
    d->why = r->why;
    list_init(&d->due);
    map_add(&s->dests, &d->link, hash);
    return d;
}

/* Mail for one domain seldom comes alone, and its way is worth remembering:
 * finding it costs more than all else that is done to load a recipient. */
static struct dest_memo *memo_for(struct sched *s, struct span domain)
{
    uint32_t h = 2166136261u; /* FNV-1a: a clash costs a search, no more */

    if (domain.n > sizeof s->memo[0].domain)
        return NULL;
    for (size_t i = 0; i < domain.n; i++)
        h = (h ^ (unsigned char)domain.p[i]) * 16777619u;
    return &s->memo[(h ^ h >> 16) % DEST_MEMOS];
}

static bool memo_is(const struct dest_memo *m, struct span domain)
{
    return m != NULL && m->dest != NULL && m->n == domain.n &&
           memcmp(m->domain, domain.p, domain.n) == 0;
}

static void memo_set(struct dest_memo *m, struct span domain, struct dest *d)
{
    if (m == NULL)
        return;
    m->dest = d;
    m->n = (uint8_t)domain.n;
    memcpy(m->domain, domain.p, domain.n);
}

static struct dest *look_for(struct sched *s, struct span domain)
{
    struct route r;

    route_find(&r, s->conf, domain, local_has_domain(s->local, domain));
    uint64_t hash = hash_of(&r);
    struct dest *d = find(s, &r, hash);
    return d != NULL ? d : make(s, &r, hash);
}

struct dest *dest_for(struct sched *s, struct span domain)
{
    struct dest_memo *m = memo_for(s, domain);
    struct dest *d = memo_is(m, domain) ? m->dest : look_for(s, domain);

    if (d == NULL)
        return NULL;
    memo_set(m, domain, d);
    d->nrcpt++;
    if (d->idle_since != 0)
        list_remove(&d->turn);
    d->idle_since = 0;
    return d;
}

void dest_detach(struct dest *d)
{
    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++)
        list_remove(&d->hops->hop[i].wait);
}

/* --- work -----------------------------------------------------------------*/

void dest_kick(struct dest *d)
{
    struct sched *s = d->sched;

    if (d->query != NULL ||
        (list_linked(&d->turn) && d->nrcpt > 0 && d->idle_since == 0))
        return;
    list_remove(&d->turn);
    d->idle_since = 0;
    list_push(&s->ready, &d->turn);
}

/* Two families of one host are two addresses of one peer: while one has a
 * session, the other gets none. */
static bool sibling_is_open(const struct dest *d, const struct hop *h)
{
    if (lane_is_open(h->lane))
        return false;
    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *o = &d->hops->hop[i];
        if (o->host == h->host && o->tier != h->tier && lane_is_open(o->lane))
            return true;
    }
    return false;
}

static bool is_usable(struct sched *s, const struct dest *d,
                      const struct hop *h)
{
    return lane_is_up(s, h->lane) && !sibling_is_open(d, h);
}

/* The best tier with a usable lane; -1: none. */
static int current_tier(struct sched *s, const struct dest *d)
{
    int best = -1;

    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        if ((best < 0 || h->tier < best) && is_usable(s, d, h))
            best = h->tier;
    }
    return best;
}

bool dest_uses(struct dest *d, const struct lane *l)
{
    if (d->hops == NULL || d->verdict != NULL)
        return false;
    int tier = current_tier(d->sched, d);
    for (size_t i = 0; i < d->hops->n; i++)
        if (d->hops->hop[i].lane == l && d->hops->hop[i].tier == tier)
            return true;
    return false;
}

/* A second lane is opened only when the first has something in line. */
static unsigned cost(const struct lane *l)
{
    return l->out * 2 + (lane_is_open(l) ? 0 : 5);
}

static struct lane *choose(struct sched *s, const struct dest *d, int tier)
{
    struct lane *best = NULL;

    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        if (h->tier == tier && is_usable(s, d, h) &&
            lane_has_room(s, h->lane) &&
            (best == NULL || cost(h->lane) < cost(best)))
            best = h->lane;
    }
    return best;
}

/* Why none can be used: the last that was tried says it. */
static const struct lane *blame(const struct dest *d)
{
    const struct lane *l = d->hops->hop[0].lane;

    for (size_t i = 1; i < d->hops->n; i++)
        if (d->hops->hop[i].lane->down_until > l->down_until)
            l = d->hops->hop[i].lane;
    return l;
}

static void answer_some(struct sched *s, struct dest *d, const struct answer *a,
                        const char *host)
{
    dest_detach(d);
    for (int i = 0; i < ANSWERS_PER_TURN && !list_empty(&d->due); i++)
        dispatch_answer(s, d, a, host);
    if (!list_empty(&d->due))
        dest_kick(d);
}

/* What the lanes have no room for waits in line with them, and keeps its
 * place there when more comes. */
static void give_lanes(struct sched *s, struct dest *d, int tier)
{
    struct lane *l;

    for (size_t i = 0; i < d->hops->n; i++)
        if (d->hops->hop[i].tier != tier)
            list_remove(&d->hops->hop[i].wait);
    while (!list_empty(&d->due) && (l = choose(s, d, tier)) != NULL)
        if (!dispatch_one(s, d, l)) {
            dest_kick(d); /* there is room: nobody would call it */
            return;
        }
    if (list_empty(&d->due))
        dest_detach(d);
    for (size_t i = 0; i < d->hops->n && !list_empty(&d->due); i++)
        if (d->hops->hop[i].tier == tier && is_usable(s, d, &d->hops->hop[i]))
            lane_wait(s, &d->hops->hop[i]);
}

static void use_lanes(struct sched *s, struct dest *d)
{
    int tier = current_tier(s, d);

    if (tier < 0) {
        const struct lane *l = blame(d);
        struct answer a = l->why;
        if (l->down_local)
            a.verdict = VERDICT_NONE;
        answer_some(s, d, &a, l->name);
        return;
    }
    give_lanes(s, d, tier);
}

/* Called when d comes out of the ready list. */
void dest_work(struct sched *s, struct dest *d)
{
    if (list_empty(&d->due) || s->stopping) {
        if (d->nrcpt == 0) {
            d->idle_since = sched_seconds(s);
            list_push(&s->idle, &d->turn);
        }
        return;
    }
    bool known = d->hops != NULL || d->verdict != NULL;
    bool lasts = d->kind == ROUTE_LOCAL && d->hops != NULL;
    if (known && !lasts && d->expires <= sched_seconds(s)) {
        free(d->verdict);
        d->verdict = NULL;
        known = false;
    }
    if (!known)
        dest_look_up(s, d);
    else if (d->verdict != NULL)
        answer_some(s, d, d->verdict, NULL);
    else
        use_lanes(s, d);
}

/* --- recipients come and go -----------------------------------------------*/

void dest_add(struct rcpt *r)
{
    r->state = RCPT_DUE;
    list_push(&r->dest->due, &r->link);
    dest_kick(r->dest);
}

void dest_forget(struct dest *d)
{
    if (--d->nrcpt == 0)
        dest_kick(d); /* to the idle ones, when its turn comes */
}

static void free_dest(struct sched *s, struct dest *d)
{
    memset(s->memo, 0, sizeof s->memo);
    list_remove(&d->turn);
    mx_cancel(d->query);
    dest_drop_hops(s, d);
    free(d->verdict);
    map_remove(&s->dests, &d->link);
    free(d);
}

void dest_sweep(struct sched *s)
{
    uint32_t now = sched_seconds(s);

    while (!list_empty(&s->idle)) {
        struct dest *d = LIST_ENTRY(s->idle.next, struct dest, turn);
        if (d->idle_since + IDLE_SECONDS > now)
            return;
        free_dest(s, d);
    }
}

void dest_flush(struct sched *s)
{
    for (size_t i = 0; i <= s->dests.mask; i++)
        for (struct map_link *l = s->dests.bucket[i]; l != NULL; l = l->next) {
            struct dest *d = MAP_ENTRY(l, struct dest, link);
            free(d->verdict);
            d->verdict = NULL;
        }
}

void dest_free_all(struct sched *s)
{
    for (size_t i = 0; i <= s->dests.mask; i++)
        while (s->dests.bucket[i] != NULL)
            free_dest(s, MAP_ENTRY(s->dests.bucket[i], struct dest, link));
}
