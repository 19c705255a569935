/* destination.c - hosts for the mail of a domain, and its due recipients. */
#include "send/destination.h"

#include "send/destination_dns.h"
#include "send/fault.h"
#include "send/hop_state.h"
#include "send/next_mx.h"
#include "send/ready.h"
#include "send/sched.h"

#include <stdlib.h>
#include <string.h>

enum {
    IDLE_SECONDS = 60,  /* a destination without mail is kept */
    SUSPECTS_MAX = 4096 /* recipients of a message looked at */
};

/* --- finding ------------------------------------------------------------ */

static uint64_t hash_of(const struct route *r)
{
    uint64_t h = map_hash_nocase(r->host, strlen(r->host));

    return h ^
           ((uint64_t)r->relay << 32 | (uint64_t)r->mail_tls << 28 |
            (uint64_t)r->tls << 26 | (uint64_t)r->lmtp << 25 |
            (uint64_t)r->configured << 24 | (uint64_t)r->kind << 16 | r->port) *
               0x9e3779b97f4a7c15u;
}

static struct destination *find(const struct sched *s, const struct route *r,
                                uint64_t hash)
{
    for (struct map_link *l = map_first(&s->destination.all, hash); l != NULL;
         l = map_next(l)) {
        struct destination *d = MAP_ENTRY(l, struct destination, link);
        if (d->kind == r->kind && d->port == r->port && d->why == r->why &&
            d->configured == r->configured && d->lmtp == r->lmtp &&
            d->relay == r->relay && d->tls == r->tls &&
            d->mail_tls == r->mail_tls && strcmp(d->host, r->host) == 0)
            return d;
    }
    return NULL;
}

static struct destination *make(struct sched *s, const struct route *r,
                                uint64_t hash)
{
    size_t n = strlen(r->host) + 1;
    struct destination *d = calloc(1, sizeof *d + n);

    if (d == NULL)
        return NULL;
    memcpy(d->host, r->host, n);
    d->sched = s;
    d->kind = (uint8_t)r->kind;
    d->port = r->port;
    d->why = r->why;
    d->tls = (uint8_t)r->tls;
    d->mail_tls = (uint8_t)r->mail_tls;
    d->configured = r->configured;
    d->lmtp = r->lmtp;
    d->path = r->path;
    d->relay = r->relay;
    d->login = r->login;
    due_init(&d->due);
    list_init(&d->suspects);
    list_init(&d->parked);
    map_add(&s->destination.all, &d->link, hash);
    return d;
}

/* Consecutive recipients often share a domain: cache its destination, because
 * finding it costs more than all other work to load a recipient. */
static struct destination_memo *memo_for(struct sched *s, struct span domain)
{
    uint32_t h = 2166136261u; /* FNV-1a: a collision costs a search, no more */

    if (domain.n > sizeof s->destination.memo[0].domain)
        return NULL;
    for (size_t i = 0; i < domain.n; i++)
        h = (h ^ (unsigned char)domain.p[i]) * 16777619u;
    return &s->destination.memo[(h ^ h >> 16) % DESTINATION_MEMOS];
}

static bool memo_is(const struct destination_memo *m, struct span domain)
{
    return m != NULL && m->destination != NULL && m->n == domain.n &&
           memcmp(m->domain, domain.p, domain.n) == 0;
}

static void memo_set(struct destination_memo *m, struct span domain,
                     struct destination *d)
{
    if (m == NULL)
        return;
    m->destination = d;
    m->n = (uint8_t)domain.n;
    memcpy(m->domain, domain.p, domain.n);
}

static struct destination *at_route(struct sched *s, const struct route *r)
{
    uint64_t hash = hash_of(r);
    struct destination *d = find(s, r, hash);

    return d != NULL ? d : make(s, r, hash);
}

static struct destination *look_for(struct sched *s, struct span domain,
                                    struct span sender)
{
    struct route r;

    route_find(&r, s->conf, domain, sender, local_has_domain(s->local, domain));
    return at_route(s, &r);
}

static void add_one(struct destination *d)
{
    d->nrcpt++;
    if (d->idle_since != 0)
        list_remove(&d->turn);
    d->idle_since = 0;
}

struct destination *destination_for(struct sched *s, struct span domain,
                                    struct span sender)
{
    struct destination_memo *m = sender.n > 0 ? NULL : memo_for(s, domain);
    struct destination *d =
        memo_is(m, domain) ? m->destination : look_for(s, domain, sender);

    if (d == NULL)
        return NULL;
    memo_set(m, domain, d);
    add_one(d);
    return d;
}

struct destination *destination_of_relay(struct sched *s, unsigned relay,
                                         enum conf_tls mail_tls)
{
    struct route r;

    route_relay(&r, s->conf, relay, mail_tls);
    return at_route(s, &r);
}

void destination_move(struct rcpt *r, struct destination *to)
{
    struct destination *from = r->place;

    add_one(to);
    r->place = to;
    destination_release(from);
}

void destination_detach(struct destination *d)
{
    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++)
        if (list_empty(&d->hops->hop[i].apart))
            list_remove(&d->hops->hop[i].wait);
}

/* --- lanes -------------------------------------------------------------- */

/* The two address families of a host are two addresses of one peer: while one
 * has a session, the other gets none. */
static bool sibling_is_open(const struct destination *d, const struct hop *h)
{
    if (lane_is_open(h->lane))
        return false;
    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *o = &d->hops->hop[i];
        if (o->host == h->host && o->rank != h->rank && lane_is_open(o->lane))
            return true;
    }
    return false;
}

bool destination_may_use(struct sched *s, const struct destination *d,
                         const struct hop *h)
{
    return !h->looped && hop_is_up(s, h) && !sibling_is_open(d, h);
}

/* One message tries it, or will; all others use other hosts meanwhile. */
static bool is_on_trial(const struct sched *s, const struct lane *l)
{
    return l->trial && (l->out > 0 || !lane_is_clear(s, l));
}

int destination_rank(struct sched *s, const struct destination *d)
{
    int best = -1, trial = -1;

    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        int *rank = is_on_trial(s, h->lane) ? &trial : &best;
        if ((*rank < 0 || h->rank < *rank) && destination_may_use(s, d, h))
            *rank = h->rank;
    }
    return best >= 0 ? best : trial;
}

bool destination_is_tried(struct sched *s, const struct destination *d)
{
    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        if (!is_on_trial(s, h->lane) && destination_may_use(s, d, h))
            return false;
    }
    return true;
}

bool destination_uses(struct destination *d, const struct lane *l)
{
    if (d->hops == NULL || d->outcome != NULL)
        return false;
    /* Most destinations do not know the lane: the rank is computed last. */
    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        if (h->lane == l && hop_is_up(d->sched, h) && !hop_misfits(h) &&
            h->rank == destination_rank(d->sched, d))
            return true;
    }
    return false;
}

/* Open a second lane only when the first has a backlog. */
static unsigned cost(const struct lane *l)
{
    return l->out * 2 + (lane_is_open(l) ? 0 : 5);
}

struct lane *destination_choose(struct sched *s, const struct destination *d,
                                int rank)
{
    struct lane *best = NULL;

    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        if (h->rank == rank && destination_may_use(s, d, h) &&
            lane_has_room(s, h->lane) && !hop_misfits(h) &&
            (best == NULL || cost(h->lane) < cost(best)))
            best = h->lane;
    }
    return best;
}

const struct hop *destination_blame(const struct destination *d)
{
    const struct hop *h = &d->hops->hop[0];

    for (size_t i = 1; i < d->hops->n; i++)
        if (hop_opens(&d->hops->hop[i]) > hop_opens(h))
            h = &d->hops->hop[i];
    return h;
}

uint64_t destination_opens(const struct destination *d)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        if (!h->looped && hop_opens(h) < first)
            first = hop_opens(h);
    }
    return first;
}

/* Two names may have one address: the first is used that may be. */
struct hop *destination_hop(const struct destination *d, const struct lane *l)
{
    struct hop *first = NULL;

    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++) {
        struct hop *h = &d->hops->hop[i];
        if (h->lane != l)
            continue;
        if (hop_is_up(d->sched, h) && !hop_misfits(h))
            return h;
        if (first == NULL ||
            (!hop_is_up(d->sched, first) && hop_is_up(d->sched, h)))
            first = h;
    }
    return first;
}

struct hop *destination_hop_by_name(const struct destination *d,
                                    const struct lane *l, const char *name)
{
    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++)
        if (d->hops->hop[i].lane == l &&
            strcmp(d->hops->hop[i].name, name) == 0)
            return &d->hops->hop[i];
    return NULL;
}

const char *destination_host(const struct destination *d, const struct lane *l)
{
    const struct hop *h = destination_hop(d, l);

    return h != NULL ? h->name : NULL;
}

/* RFC 5321 5.1, as for this system among the MX hosts.  Two ranks are one
 * preference (mx_ranks.h). */
void destination_loops(struct destination *d, const struct lane *l)
{
    const struct hop *own = destination_hop(d, l);
    bool left = false;

    if (own == NULL)
        return;
    for (size_t i = 0; i < d->hops->n; i++) {
        struct hop *h = &d->hops->hop[i];
        if (h->rank / 2 < own->rank / 2) {
            left |= !h->looped;
            continue;
        }
        h->looped = true;
        list_remove(&h->wait);
        list_remove(&h->park);
        next_mx_give_up(d->sched, h);
    }
    if (!left)
        destination_set_looped(d);
}

/* Its line is another one now. */
static void be_misfit(struct sched *s, struct hop *h, unsigned serial)
{
    h->misfit = serial;
    if (list_linked(&h->wait))
        lane_wait(s, h, h->line);
}

void destination_misfits(struct destination *d, const struct send_delivery *sd,
                         const struct delivery_rcpt *r)
{
    struct hop *h =
        destination_hop_by_name(d, sd->lane, delivery_host(&sd->delivery, r));

    if (h == NULL)
        return;
    if (r->effect == MAIL_MISFIT)
        be_misfit(d->sched, h, sd->serial);
    else
        hop_shut(d->sched, h, &r->answer);
}

/* --- recipients come and go --------------------------------------------- */

void destination_add(struct rcpt *r)
{
    struct destination *d = r->place;

    r->state = RCPT_DUE;
    if (r->suspect)
        list_push(&d->suspects, &r->link);
    else
        due_add(&d->sched->destination.groups, &d->due, r);
    ready_destination(d);
}

/* A suspect goes last, even so. */
void destination_add_untouched(struct rcpt *r)
{
    struct destination *d = r->place;

    if (r->suspect) {
        destination_add(r);
        return;
    }
    r->state = RCPT_DUE;
    due_add_untouched(&d->due, r);
    ready_destination(d);
}

void destination_take(struct rcpt *r)
{
    struct destination *d = r->place;

    if (r->suspect)
        list_remove(&r->link);
    else
        due_remove(&d->sched->destination.groups, &d->due, r);
}

void destination_suspect(const struct rcpt *lost)
{
    int looked = 0;

    for (struct rcpt *r = lost->msg->rcpts; r != NULL && looked < SUSPECTS_MAX;
         r = r->next, looked++) {
        if (r->place != lost->place || r->suspect || r->state == RCPT_GONE)
            continue;
        bool due = r->state == RCPT_DUE;
        if (due)
            destination_take(r);
        r->suspect = 1;
        if (due)
            destination_add(r);
    }
}

enum lane_line destination_line(const struct destination *d)
{
    if (due_empty(&d->due))
        return list_empty(&d->suspects) ? LINES : LINE_SUSPECT;
    return list_empty(&d->due.untouched) ? LINE_DUE : LINE_FIRST;
}

struct rcpt *destination_next(struct destination *d)
{
    if (!due_empty(&d->due))
        return due_first(&d->sched->destination.groups, &d->due);
    return list_empty(&d->suspects)
               ? NULL
               : LIST_ENTRY(d->suspects.next, struct rcpt, link);
}

struct rcpt *destination_take_turn(struct destination *d)
{
    return due_empty(&d->due)
               ? destination_next(d)
               : due_take_turn(&d->sched->destination.groups, &d->due);
}

void destination_release(struct destination *d)
{
    if (--d->nrcpt == 0)
        ready_destination(d); /* move it to the idle list in its turn */
}

void destination_rest(struct destination *d)
{
    d->idle_since = sched_seconds(d->sched);
    list_push(&d->sched->destination.idle, &d->turn);
}

bool destination_is_known(struct destination *d)
{
    bool known = d->hops != NULL || d->outcome != NULL;

    if (!known || d->expires > sched_seconds(d->sched))
        return known;
    free(d->outcome);
    d->outcome = NULL;
    return false;
}

static void free_destination(struct sched *s, struct destination *d)
{
    memset(s->destination.memo, 0, sizeof s->destination.memo);
    list_remove(&d->turn);
    if (d->query != NULL)
        s->calls->cancel_mx(d->query);
    lookup_done(&s->destination.lookups, d);
    destination_drop_hops(s, d);
    free(d->outcome);
    map_remove(&s->destination.all, &d->link);
    free(d);
}

void destination_sweep(struct sched *s)
{
    uint32_t now = sched_seconds(s);

    while (!list_empty(&s->destination.idle)) {
        struct destination *d =
            LIST_ENTRY(s->destination.idle.next, struct destination, turn);
        if (d->idle_since + IDLE_SECONDS > now)
            return;
        free_destination(s, d);
    }
}

static void open_hops(struct sched *s, struct destination *d)
{
    bool any = false;

    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++) {
        any |= !hop_is_up(s, &d->hops->hop[i]);
        hop_open(s, &d->hops->hop[i]);
    }
    if (any)
        ready_destination(d);
}

void destination_flush(struct sched *s)
{
    for (size_t i = 0; i <= s->destination.all.mask; i++)
        for (struct map_link *l = s->destination.all.bucket[i]; l != NULL;
             l = l->next) {
            struct destination *d = MAP_ENTRY(l, struct destination, link);
            open_hops(s, d);
            if (d->outcome == NULL)
                continue;
            free(d->outcome);
            d->outcome = NULL;
            d->expires = 0; /* the hops from before it too */
        }
}

void destination_free_all(struct sched *s)
{
    for (size_t i = 0; i <= s->destination.all.mask; i++)
        while (s->destination.all.bucket[i] != NULL)
            free_destination(s, MAP_ENTRY(s->destination.all.bucket[i],
                                          struct destination, link));
}
