/* assign.c - which due mail goes to which lane in this turn. */
#include "send/assign.h"

#include "queue/result.h"
#include "send/destination_dns.h"
#include "send/dispatch.h"
#include "send/hop_state.h"
#include "send/login_state.h"
#include "send/next_mx.h"
#include "send/parked.h"
#include "send/profile_turns.h"
#include "send/ready.h"
#include "send/relay.h"
#include "send/signing.h"
#include "send/wrong_queue.h"

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

static bool give(struct sched *s, struct lane *l, struct delivery *j)
{
    struct answer a;
    struct err e;

    if (lane_give(s, l, j, j->rcpt[0].rcpt->suspect, &e) == 0)
        return true;
    if (send_delivery_of(j)->again)
        next_mx_forget(s, &send_delivery_of(j)->put_off);
    answer_set(&a, OUTCOME_NONE, "4.3.0", "%.200s", e.text);
    delivery_answer_all(j, &a);
    result_apply(&s->queue, j);
    return false;
}

/* False: no memory, or the message could not be read; its recipients are tried
 * again later. */
static bool give_one(struct sched *s, struct destination *d, struct lane *l)
{
    struct delivery *j = dispatch_make(s, d, l);

    if (j == NULL)
        return false;
    set_hosts(j, d, l);
    send_delivery_of(j)->configured = d->configured;
    send_delivery_of(j)->lmtp = d->lmtp;
    return give(s, l, j);
}

static bool give_apart(struct sched *s, struct hop *h)
{
    struct delivery *j = dispatch_make_apart(s, h);

    if (j == NULL)
        return false;
    set_host(j, h->name);
    send_delivery_of(j)->configured = h->destination->configured;
    send_delivery_of(j)->lmtp = h->destination->lmtp;
    return give(s, h->lane, j);
}

/* The answer comes from this system, not from a peer; host is the peer that
 * caused it, or NULL. */
static void answer_some(struct sched *s, struct destination *d,
                        const struct answer *a, const char *host)
{
    destination_detach(d);
    for (int i = 0; i < ANSWERS_PER_TURN && destination_next(d) != NULL; i++) {
        struct delivery *j = dispatch_make(s, d, NULL);
        if (j == NULL)
            continue;
        set_host(j, host);
        delivery_answer_all(j, a);
        result_apply(&s->queue, j);
    }
    if (destination_next(d) != NULL)
        ready_destination(d);
}

/* --- hosts that are shut -------------------------------------------------- */

static void do_round(struct sched *s, struct delivery *j, const struct hop *h)
{
    set_host(j, h->name);
    j->peer = h->lane->peer;
    addr_port_text(j->address, &h->lane->peer);
    send_delivery_of(j)->shut = hop_log(h);
    delivery_answer_all(j, hop_why(h));
    result_apply(&s->queue, j);
}

/* Mail whose own time has come does a round; all of it waits for the first host
 * that opens. */
static void park_some(struct sched *s, struct destination *d)
{
    const struct hop *h = destination_blame(d);
    struct rcpt *r;

    destination_detach(d);
    for (int i = 0; i < ANSWERS_PER_TURN && (r = destination_next(d)) != NULL;
         i++) {
        struct delivery *j;
        if (parked_early(s, r)) {
            destination_take(r);
            parked_add(r);
        } else if ((j = dispatch_make(s, d, NULL)) != NULL) {
            do_round(s, j, h);
        }
    }
    if (destination_next(d) != NULL)
        ready_destination(d);
    parked_see(s, d);
}

/* --- lanes ---------------------------------------------------------------- */

/* Recipients beyond the lanes' windows wait in the lanes' order, and keep their
 * place when more arrive. */
static void line_up(struct sched *s, struct destination *d, struct hop *h,
                    bool may)
{
    enum lane_line line = may ? destination_line(d) : LINES;

    if (!list_empty(&h->apart))
        line = LINE_FIRST;
    if (line < LINES)
        lane_wait(s, h, line);
    else
        list_remove(&h->wait);
}

static void give_lanes(struct sched *s, struct destination *d, int rank)
{
    struct lane *l;

    while (destination_line(d) < LINE_SUSPECT &&
           (l = destination_choose(s, d, rank)) != NULL)
        if (!give_one(s, d, l)) {
            ready_destination(d); /* no lane would wake it: one has room */
            return;
        }
    if (destination_line(d) < LINE_SUSPECT && destination_rank(s, d) != rank) {
        ready_destination(d); /* one message tries that rank */
        return;
    }
    for (size_t i = 0; i < d->hops->n; i++) {
        struct hop *h = &d->hops->hop[i];
        if (!hop_is_up(s, h))
            next_mx_give_up(s, h);
        line_up(s, d, h, h->rank == rank && destination_may_use(s, d, h));
    }
}

static void use_lanes(struct sched *s, struct destination *d)
{
    parked_see(s, d);
    int rank = destination_rank(s, d);
    if (rank >= 0)
        give_lanes(s, d, rank);
    else
        park_some(s, d);
}

static void work_destination(struct sched *s, struct destination *d)
{
    if (d->nrcpt == 0) {
        destination_rest(d);
    } else if (s->stopping ||
               (destination_next(d) == NULL && list_empty(&d->parked) &&
                !destination_is_known(d))) {
        return;
    } else if (d->kind == ROUTE_LOCAL) {
        wrong_queue_leave(s, d);
    } else if (!login_state_ready(s, d)) {
        destination_detach(d);
    } else if (!destination_is_known(d)) {
        destination_look_up(s, d);
    } else if (relay_pass(s, d)) {
        return;
    } else if (d->outcome != NULL) {
        parked_wake(d);
        answer_some(s, d, d->outcome, NULL);
    } else {
        use_lanes(s, d);
        if (relay_is_passed(s, d))
            ready_destination(d); /* one message tries that host */
    }
}

/* The first of those that wait, one message each. */
static bool give_next(struct sched *s, struct lane *l, struct hop *h)
{
    struct destination *d = h->destination;
    bool apart = !list_empty(&h->apart);
    bool suspect = destination_line(d) == LINE_SUSPECT;

    if (!apart && suspect && h->line != LINE_SUSPECT) {
        line_up(s, d, h, true); /* the others went elsewhere */
        return true;
    }
    if (apart && !give_apart(s, h)) {
        line_up(s, d, h, false);
        ready_destination(d);
        return false;
    }
    if (!apart && destination_next(d) != NULL && !give_one(s, d, l)) {
        ready_destination(d);
        return false;
    }
    if (destination_next(d) == NULL)
        destination_detach(d);
    bool may = !apart || (h->rank == destination_rank(s, d) &&
                          destination_may_use(s, d, h));
    line_up(s, d, h, may);
    if (!may)
        ready_destination(d); /* it may have waited here for others too */
    return true;
}

/* A message that was parked tries a lane that was shut; without one, a suspect
 * does. */
static void give_probe(struct sched *s, struct lane *l)
{
    struct destination *d = parked_probe(l);

    if (d == NULL) {
        struct hop *h = lane_next_suspect(s, l);
        if (h != NULL)
            (void)give_next(s, l, h);
        return;
    }
    if (!give_one(s, d, l))
        lane_state_wait(s, l);
    if (destination_next(d) != NULL)
        ready_destination(d); /* what has no room in the delivery */
}

static void work_lane(struct sched *s, struct lane *l)
{
    struct hop *h;

    while ((h = lane_next(s, l)) != NULL)
        if (!give_next(s, l, h))
            return;
    if (l->trial && l->out == 0 && !list_empty(&l->parked) &&
        lane_has_room(s, l))
        give_probe(s, l);
    profile_turn_see(l);
    lane_want_session(s, l);
}

void assign_work(struct sched *s)
{
    struct destination *d;
    struct lane *l;

    next_mx_settle(s);
    while ((l = ready_take_lane(s)) != NULL)
        work_lane(s, l);
    while ((l = lane_next_opening(s)) != NULL)
        work_lane(s, l);
    for (int i = 0;
         i < DESTINATIONS_PER_TURN && (d = ready_take_destination(s)) != NULL;
         i++)
        work_destination(s, d);
}

/* Of the peer, to a command of the message. */
static bool has_reply(const struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++)
        if (j->rcpt[i].answer.outcome != OUTCOME_NONE &&
            j->rcpt[i].answer.status.code != 0)
            return true;
    return false;
}

/* A message of ours that is damaged, or cannot be read (4.3.0), waits too. */
static bool is_of_setting(const struct answer *a)
{
    bool unreadable =
        a->damaged || (a->status.subject == 3 && a->status.detail == 0);

    return a->misconfigured && !unreadable;
}

/* TLS with the host is what its mail demands, and the login works. */
static void see_profile(struct sched *s, const struct delivery *j,
                        const struct lane *l)
{
    for (size_t i = 0; i < j->nrcpt; i++) {
        const struct delivery_rcpt *r = &j->rcpt[i];
        if ((r->tls < CONF_TLS_ENCRYPT && r->login == 0) ||
            r->answer.outcome != OUTCOME_DELIVERED)
            continue;
        struct hop *h = destination_hop(r->rcpt->place, l);
        if (h != NULL)
            hop_open(s, h);
    }
}

/* The first of them is reported, and the others need not be offered. */
static void see_settings(const struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++) {
        const struct delivery_rcpt *r = &j->rcpt[i];
        struct destination *d = r->rcpt->place;
        if (is_of_setting(&r->answer) && d->configured && d->outcome == NULL)
            login_state_refused(d, &r->answer);
        if ((d->login_failures > 0 || d->login != ROUTE_NO_LOGIN) &&
            r->answer.outcome == OUTCOME_DELIVERED)
            login_state_accepted(d);
    }
}

void assign_take_back(struct sched *s, struct delivery *j)
{
    struct lane *l = send_delivery_of(j)->lane;
    size_t nrcpt = j->nrcpt;

    list_remove(&send_delivery_of(j)->given.link);
    signing_release(s, send_delivery_of(j));
    lane_measure(s, send_delivery_of(j));
    see_settings(j);
    see_profile(s, j, l);
    if (l->trial && has_reply(j))
        lane_state_replied(s, l);
    if (send_delivery_of(j)->again)
        next_mx_answered(s, j);
    result_apply(&s->queue, j);
    lane_delivery_back(s, l, nrcpt);
}
