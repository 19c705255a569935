/* lane.c - one remote address and port as the main thread sees it.
 *
 * A lane has a session while it has mail and a little longer; all destinations
 * that lead to it share it.  A session that the peer or the network ends before
 * it delivered anything pauses the lane; after 421 or a message limit the next
 * session follows at once. */
#include "send/sched.h"

#include "log/log.h"
#include "send/ready.h"
#include "send/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOCAL_FAULT_MS = 5000 };

static struct lane *make(struct send_worker *w)
{
    struct lane *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    list_init(&l->waiting);
    l->worker = w;
    l->refs = 1;
    l->window.size = WINDOW_MIN;
    return l;
}

struct lane *lane_get(struct sched *s, const struct addr *peer)
{
    uint64_t hash = addr_hash(peer);
    struct lane *l;

    for (struct map_link *m = map_first(&s->lane.all, hash); m != NULL;
         m = map_next(m)) {
        l = MAP_ENTRY(m, struct lane, link);
        if (addr_eq(&l->peer, peer)) {
            l->refs++;
            return l;
        }
    }
    l = make(s->worker[hash % s->nworkers]);
    if (l == NULL)
        return NULL;
    l->peer = *peer;
    map_add(&s->lane.all, &l->link, hash);
    return l;
}

struct lane *lane_new_local(struct sched *s, struct send_worker *w)
{
    struct lane *l = make(w);

    (void)s;
    if (l != NULL) {
        l->local = true;
        l->window.size = WINDOW_MAX; /* its syncs serve all that are in line */
    }
    return l;
}

static void free_unused(struct sched *s, struct lane *l)
{
    if (l->refs > 0 || l->out > 0 || l->session != NULL)
        return;
    list_remove(&l->opening);
    list_remove(&l->ready);
    if (!l->local)
        map_remove(&s->lane.all, &l->link);
    free(l);
}

void lane_put(struct sched *s, struct lane *l)
{
    l->refs--;
    free_unused(s, l);
}

bool lane_is_up(const struct sched *s, const struct lane *l)
{
    return l->down_until <= loop_now(s->loop);
}

bool lane_is_open(const struct lane *l)
{
    return l->local || (l->session != NULL && !l->ended);
}

bool lane_has_room(const struct sched *s, const struct lane *l)
{
    if (l->out >= l->window.size || l->out_rcpts >= LANE_RCPTS || l->ended ||
        s->stopping)
        return false;
    return lane_is_open(l) || s->lane.sessions < SCHED_SESSIONS_MAX;
}

/* --- sessions ----------------------------------------------------------- --*/

static void set_hurry(struct sched *s)
{
    for (unsigned i = 0; i < s->nworkers; i++)
        s->calls->hurry(s->worker[i], !list_empty(&s->lane.opening));
}

static int open_session(struct sched *s, struct lane *l, const char *host,
                        struct err *e)
{
    const struct send_limits none = { .messages = 0 };

    l->session = send_session_new(&l->peer, host, &none);
    if (l->session == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a session");
    send_session_set_lane(l->session, l);
    l->ended = false;
    s->lane.sessions++;
    s->calls->give(l->worker, send_session_note(l->session));
    return 0;
}

int lane_give(struct sched *s, struct lane *l, struct delivery *j,
              struct err *e)
{
    if (!lane_is_open(l) && open_session(s, l, j->host, e) != 0)
        return -1;
    struct send_delivery *d = send_delivery_of(j);

    d->lane = l;
    d->session = l->session;
    j->offered = true;
    j->local = l->local;
    if (!l->local) {
        j->peer = l->peer;
        addr_port_text(j->address, &l->peer);
    }
    l->out++;
    l->out_rcpts += j->nrcpt;
    d->line = l->out;
    window_given(&l->window, d->line);
    s->lane.deliveries++;
    d->given.since = loop_now(s->loop);
    list_push(&s->lane.given, &d->given.link);
    s->calls->give(l->worker, &d->note);
    return 0;
}

void lane_want_session(struct sched *s, struct lane *l)
{
    if (list_empty(&l->waiting) || !lane_is_up(s, l) || lane_is_open(l) ||
        l->ended || list_linked(&l->opening))
        return;
    list_push(&s->lane.opening, &l->opening);
    set_hurry(s);
}

void lane_wait(struct sched *s, struct hop *h)
{
    if (!list_linked(&h->wait))
        list_push(&h->lane->waiting, &h->wait);
    lane_want_session(s, h->lane);
}

struct hop *lane_next(struct sched *s, struct lane *l)
{
    if (!lane_is_up(s, l) || !lane_has_room(s, l))
        return NULL;
    struct list *w = list_pop(&l->waiting);
    return w != NULL ? LIST_ENTRY(w, struct hop, wait) : NULL;
}

struct lane *lane_next_opening(struct sched *s)
{
    if (s->lane.sessions >= SCHED_SESSIONS_MAX || s->stopping)
        return NULL;
    struct list *o = list_pop(&s->lane.opening);
    if (o == NULL)
        return NULL;
    set_hurry(s);
    return LIST_ENTRY(o, struct lane, opening);
}

/* Destinations that wait here must find another lane. */
static void send_away(struct lane *l)
{
    struct list *w;

    while ((w = list_pop(&l->waiting)) != NULL)
        ready_destination(LIST_ENTRY(w, struct hop, wait)->destination);
}

static void reap(struct sched *s, struct lane *l)
{
    send_session_free(&l->session);
    l->ended = false;
    s->lane.sessions--;
    if (lane_is_up(s, l))
        ready_lane(s, l);
    else
        send_away(l);
    free_unused(s, l);
}

void lane_measure(struct sched *s, const struct send_delivery *d)
{
    struct lane *l = d->lane;
    bool untouched = d->delivery.rcpt[0].answer.outcome == OUTCOME_NONE;

    if (!l->local && !untouched)
        window_back(&l->window, d->line, loop_now(s->loop) - d->given.since);
}

void lane_delivery_back(struct sched *s, struct lane *l, size_t nrcpt)
{
    l->out--;
    l->out_rcpts -= nrcpt;
    s->lane.deliveries--;
    if (l->ended && l->out == 0)
        reap(s, l);
    else if (!l->ended)
        ready_lane(s, l);
}

static void go_down(struct sched *s, struct lane *l,
                    const struct send_session_end *end)
{
    char address[ADDR_PORT_TEXT];

    l->why = end->why;
    l->down_local = end->local;
    l->failures += l->failures < 32;
    uint64_t ms = retry_backoff(&s->queue.rule, l->failures) * (uint64_t)1000;
    if (end->local)
        ms = LOCAL_FAULT_MS;
    l->down_until = loop_now(s->loop) + ms;
    addr_port_text(address, &l->peer);
    LOG(LOG_WARN, "send.unreachable", LS("mx", send_session_host(l->session)),
        LS("address", address), LS("error", l->why.text),
        LN("pause", ms / 1000));
}

void lane_ended(struct sched *s, struct lane *l)
{
    const struct send_session_end *end = send_session_end(l->session);

    l->ended = true;
    if (end->fault && end->delivered == 0)
        go_down(s, l, end);
    else
        l->failures = 0;
    if (l->out == 0)
        reap(s, l);
}

void lane_flush(struct sched *s)
{
    for (size_t i = 0; i <= s->lane.all.mask; i++)
        for (struct map_link *m = s->lane.all.bucket[i]; m != NULL; m = m->next)
            MAP_ENTRY(m, struct lane, link)->down_until = 0;
}
