/* assign.c - which due mail goes to which lane in this turn. */
#include "send/assign.h"

#include "queue/result.h"
#include "send/destination_dns.h"
#include "send/dispatch.h"
#include "send/ready.h"

#include <stdio.h>
#include <string.h>

enum { DESTINATIONS_PER_TURN = 256, ANSWERS_PER_TURN = 256 };

static void set_host(struct delivery *j, const char *host)
{
    snprintf(j->host, sizeof j->host, "%.*s", (int)sizeof j->host - 1,
             host != NULL ? host : "");
}

/* Recipients of several domains go to one lane together, and each keeps the
 * name that its own domain has for the host.  (Without memory: the first's.) */
static void set_hosts(struct delivery *j, const struct destination *d,
                      const struct lane *l)
{
    set_host(j, destination_host(d, l));
    for (size_t i = 0; i < j->nrcpt; i++) {
        const struct destination *own = j->rcpt[i].rcpt->place;
        const char *name = own != d ? destination_host(own, l) : NULL;
        if (name != NULL && strcmp(name, j->host) != 0)
            j->rcpt[i].host = strdup(name);
    }
}

/* False: no memory, or the message could not be read; its recipients are tried
 * again later. */
static bool give_one(struct sched *s, struct destination *d, struct lane *l)
{
    struct delivery *j = dispatch_make(s, d, l);
    struct answer a;
    struct err e;

    if (j == NULL)
        return false;
    set_hosts(j, d, l);
    if (lane_give(s, l, j, &e) == 0)
        return true;
    answer_set(&a, OUTCOME_NONE, "4.3.0", "%.200s", e.text);
    delivery_answer_all(j, &a);
    result_apply(&s->queue, j);
    return false;
}

/* The answer comes from this system, not from a peer; host is the peer that
 * caused it, or NULL. */
static void answer_some(struct sched *s, struct destination *d,
                        const struct answer *a, const char *host)
{
    destination_detach(d);
    for (int i = 0; i < ANSWERS_PER_TURN && !due_empty(&d->due); i++) {
        struct delivery *j = dispatch_make(s, d, NULL);
        if (j == NULL)
            continue;
        set_host(j, host);
        delivery_answer_all(j, a);
        result_apply(&s->queue, j);
    }
    if (!due_empty(&d->due))
        ready_destination(d);
}

/* Recipients beyond the lanes' windows wait in the lanes' order, and keep their
 * place when more arrive. */
static void give_lanes(struct sched *s, struct destination *d, int rank)
{
    struct lane *l;

    for (size_t i = 0; i < d->hops->n; i++)
        if (d->hops->hop[i].rank != rank)
            list_remove(&d->hops->hop[i].wait);
    while (!due_empty(&d->due) && (l = destination_choose(s, d, rank)) != NULL)
        if (!give_one(s, d, l)) {
            ready_destination(d); /* no lane would wake it: one has room */
            return;
        }
    if (due_empty(&d->due))
        destination_detach(d);
    for (size_t i = 0; i < d->hops->n && !due_empty(&d->due); i++)
        if (d->hops->hop[i].rank == rank &&
            destination_may_use(s, d, &d->hops->hop[i]))
            lane_wait(s, &d->hops->hop[i]);
}

static void use_lanes(struct sched *s, struct destination *d)
{
    int rank = destination_rank(s, d);

    if (rank >= 0) {
        give_lanes(s, d, rank);
        return;
    }
    const struct hop *h = destination_blame(d);
    struct answer a = h->lane->why;
    if (h->lane->down_local)
        a.outcome = OUTCOME_NONE;
    answer_some(s, d, &a, h->name);
}

static void work_destination(struct sched *s, struct destination *d)
{
    if (due_empty(&d->due) || s->stopping) {
        if (d->nrcpt == 0)
            destination_rest(d);
    } else if (!destination_is_known(d)) {
        destination_look_up(s, d);
    } else if (d->outcome != NULL) {
        answer_some(s, d, d->outcome, NULL);
    } else {
        use_lanes(s, d);
    }
}

/* Give the waiting destinations turns, one message each. */
static void work_lane(struct sched *s, struct lane *l)
{
    struct hop *h;

    while ((h = lane_next(s, l)) != NULL) {
        struct destination *d = h->destination;
        if (!due_empty(&d->due) && !give_one(s, d, l)) {
            ready_destination(d);
            return;
        }
        if (due_empty(&d->due))
            destination_detach(d);
        else
            lane_wait(s, h);
    }
    lane_want_session(s, l);
}

void assign_work(struct sched *s)
{
    struct destination *d;
    struct lane *l;

    while ((l = ready_take_lane(s)) != NULL)
        work_lane(s, l);
    while ((l = lane_next_opening(s)) != NULL)
        work_lane(s, l);
    for (int i = 0;
         i < DESTINATIONS_PER_TURN && (d = ready_take_destination(s)) != NULL;
         i++)
        work_destination(s, d);
}

void assign_take_back(struct sched *s, struct delivery *j)
{
    struct lane *l = send_delivery_of(j)->lane;
    size_t nrcpt = j->nrcpt;

    list_remove(&send_delivery_of(j)->given.link);
    lane_measure(s, send_delivery_of(j));
    result_apply(&s->queue, j);
    lane_delivery_back(s, l, nrcpt);
}
