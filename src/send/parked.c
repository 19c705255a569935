/* parked.c - mail that waits for a shut host to open. */
#include "send/parked.h"

#include "send/hop_state.h"
#include "send/ready.h"

enum { LOOK_AT_MAX = 4096 };

bool parked_early(const struct sched *s, const struct rcpt *r)
{
    uint32_t now = sched_seconds(s);

    return r->when > now && r->msg->expires > now;
}

void parked_add(struct rcpt *r)
{
    struct destination *d = r->place;

    r->state = RCPT_PARKED;
    list_push(&d->parked, &r->link);
}

static void wake(struct rcpt *r)
{
    list_remove(&r->link);
    destination_add(r);
}

void parked_wake(struct destination *d)
{
    while (!list_empty(&d->parked))
        wake(LIST_ENTRY(d->parked.next, struct rcpt, link));
}

static void wake_for_round(struct sched *s, struct destination *d)
{
    for (struct list *l = d->parked.next, *next; l != &d->parked; l = next) {
        struct rcpt *r = LIST_ENTRY(l, struct rcpt, link);
        next = l->next;
        if (!parked_early(s, r))
            wake(r);
    }
}

static bool can_go(struct sched *s, const struct destination *d)
{
    for (size_t i = 0; i < d->hops->n; i++)
        if (destination_may_use(s, d, &d->hops->hop[i]) &&
            !d->hops->hop[i].lane->trial)
            return true;
    return false;
}

/* A look-up may have brought other hops, so each time. */
static void wait_at_lanes(struct sched *s, struct destination *d)
{
    for (size_t i = 0; i < d->hops->n; i++) {
        struct hop *h = &d->hops->hop[i];
        if (h->looped)
            continue;
        if (!list_linked(&h->park))
            list_push(&h->lane->parked, &h->park);
        if (lane_has_room(s, h->lane))
            ready_lane(s, h->lane); /* on trial */
        else
            lane_want_session(s, h->lane);
    }
}

void parked_see(struct sched *s, struct destination *d)
{
    bool round = d->round;

    d->round = false;
    if (list_empty(&d->parked))
        return;
    if (can_go(s, d)) {
        parked_wake(d);
        return;
    }
    if (round)
        wake_for_round(s, d);
    if (!list_empty(&d->parked))
        wait_at_lanes(s, d);
}

static struct rcpt *choose(const struct destination *d, bool suspect)
{
    struct list *l = d->parked.next;

    for (int i = 0; i < LOOK_AT_MAX && l != &d->parked; i++, l = l->next) {
        struct rcpt *r = LIST_ENTRY(l, struct rcpt, link);
        if (r->suspect == suspect)
            return r;
    }
    return NULL;
}

/* It does a round if this fails. */
static void make_due(struct destination *d, struct rcpt *r)
{
    list_remove(&r->link);
    r->when = 0;
    r->state = RCPT_DUE;
    if (r->suspect)
        list_push_front(&d->suspects, &r->link);
    else
        due_add_front(&d->due, r);
}

/* The message goes whole: what it does to the host counts for all of it. */
static void make_message_due(struct destination *d, struct rcpt *chosen)
{
    int looked = 0;

    for (struct rcpt *r = chosen->msg->rcpts; r != NULL && looked < LOOK_AT_MAX;
         r = r->next, looked++)
        if (r != chosen && r->state == RCPT_PARKED && r->place == d &&
            r->suspect == chosen->suspect)
            make_due(d, r);
    make_due(d, chosen);
}

static struct destination *probe_by(struct lane *l, bool suspect)
{
    struct list *last = l->parked.prev, *p = NULL;

    while (p != last && (p = list_pop(&l->parked)) != NULL) {
        const struct hop *h = LIST_ENTRY(p, struct hop, park);
        struct destination *d = h->destination;
        if (list_empty(&d->parked))
            continue;
        list_push(&l->parked, p);
        if (!hop_is_up(l->sched, h) || hop_misfits(h))
            continue;
        if (!destination_is_known(d) || d->outcome != NULL) {
            ready_destination(d); /* to be looked up, or answered */
            continue;
        }
        struct rcpt *r = choose(d, suspect);
        if (r == NULL)
            continue;
        make_message_due(d, r);
        return d;
    }
    return NULL;
}

/* The next destination has its turn when the lane opens again. */
struct destination *parked_probe(struct lane *l)
{
    struct destination *d = probe_by(l, false);

    return d != NULL ? d : probe_by(l, true);
}
