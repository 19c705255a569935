/* lane.c - one remote address and port as the main thread sees it.
 *
 * A lane has a session while it has mail and a little longer; all destinations
 * that lead to it share it. */
#include "send/hop_state.h"
#include "send/login.h"
#include "send/next_mx.h"
#include "send/pace.h"
#include "send/profile_turns.h"
#include "send/provider.h"
#include "send/ready.h"
#include "send/sched.h"
#include "send/session.h"
#include "send/signing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A suspect that has waited so long goes before the lane's other mail. */
enum { SUSPECT_SECONDS = 300 };

static struct lane *make(struct sched *s, const struct addr *peer,
                         uint64_t hash)
{
    struct lane *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    for (int i = 0; i < LINES; i++)
        list_init(&l->line[i]);
    list_init(&l->parked);
    l->sched = s;
    l->worker = s->worker[hash % s->nworkers];
    l->peer = *peer;
    l->refs = 1;
    l->window.size = WINDOW_MIN;
    lane_state_init(l);
    profile_turn_init(l);
    map_add(&s->lane.all, &l->link, hash);
    return l;
}

struct lane *lane_find(const struct sched *s, const struct addr *peer)
{
    for (struct map_link *m = map_first(&s->lane.all, addr_hash(peer));
         m != NULL; m = map_next(m)) {
        struct lane *l = MAP_ENTRY(m, struct lane, link);
        if (addr_eq(&l->peer, peer))
            return l;
    }
    return NULL;
}

struct lane *lane_get(struct sched *s, const struct addr *peer)
{
    struct lane *l = lane_find(s, peer);

    if (l == NULL)
        return make(s, peer, addr_hash(peer));
    l->refs++;
    lane_state_use_again(s, l);
    return l;
}

static void free_lane(struct sched *s, struct lane *l)
{
    list_remove(&l->opening);
    list_remove(&l->ready);
    pace_leave(l);
    lane_state_done(l);
    profile_turn_done(l);
    map_remove(&s->lane.all, &l->link);
    tls_session_free(&l->resume.session);
    free(l->resume.host);
    free(l);
}

/* What is known of a host outlives its last destination. */
static void free_unused(struct sched *s, struct lane *l)
{
    if (l->refs > 0 || l->out > 0 || l->session != NULL)
        return;
    if (!lane_state_keep(s, l))
        free_lane(s, l);
}

void lane_forget(struct sched *s, struct lane *l)
{
    l->unused = false;
    s->lane.unused--;
    free_lane(s, l);
}

void lane_free_unused(struct sched *s)
{
    for (size_t i = 0; i <= s->lane.all.mask; i++)
        while (s->lane.all.bucket[i] != NULL)
            lane_forget(s, MAP_ENTRY(s->lane.all.bucket[i], struct lane, link));
}

void lane_put(struct sched *s, struct lane *l)
{
    l->refs--;
    free_unused(s, l);
}

bool lane_is_open(const struct lane *l)
{
    return l->session != NULL && !l->ended;
}

/* On trial, one message decides for all. */
static unsigned window_of(const struct lane *l)
{
    return l->trial ? 1 : l->window.size;
}

static bool is_suspects_turn(const struct sched *s, const struct lane *l)
{
    return !list_empty(&l->line[LINE_SUSPECT]) &&
           sched_seconds(s) >= l->suspects_since + SUSPECT_SECONDS;
}

bool lane_has_room(const struct sched *s, const struct lane *l)
{
    if (l->out >= window_of(l) || l->out_rcpts >= LANE_RCPTS || l->ended ||
        l->alone || s->stopping || !lane_is_clear(s, l) ||
        profile_turn_is_over(l) || (l->out > 0 && is_suspects_turn(s, l)) ||
        !pace_allows(l))
        return false;
    return lane_is_open(l) || s->lane.sessions < SCHED_SESSIONS_MAX;
}

/* --- sessions ----------------------------------------------------------- --*/

static void set_hurry(struct sched *s)
{
    for (unsigned i = 0; i < s->nworkers; i++)
        s->calls->hurry(s->worker[i], !list_empty(&s->lane.opening));
}

/* The profile of a session is that of the mail it is opened for. */
static void want_tls(struct lane *l, const struct delivery *j,
                     const struct send_limits *known)
{
    enum conf_tls level = (enum conf_tls)j->rcpt[0].tls;

    if (level == CONF_TLS_MAY && known->no_tls)
        l->clear_until = known->clear_until;
    if (level == CONF_TLS_NONE || (level == CONF_TLS_MAY && known->no_tls))
        return;
    /* What was not trusted may have become better since. */
    bool same = l->resume.session != NULL &&
                strcmp(l->resume.host, j->host) == 0 &&
                (level < CONF_TLS_VERIFY || l->resume.chain_good);
    send_session_want_tls(l->session, level == CONF_TLS_MAY,
                          same ? l->resume.session : NULL);
    if (same)
        l->resume.session = NULL;
}

/* The host may resume it in the next session. */
static void keep_tls(struct lane *l)
{
    bool chain_good;
    struct tls_session *t = send_session_take_tls(l->session, &chain_good);

    if (t == NULL)
        return;
    if (l->unopened) { /* want_tls() has taken it from here */
        l->resume.session = t;
        return;
    }
    l->resume.chain_good = chain_good;
    tls_session_free(&l->resume.session);
    free(l->resume.host);
    l->resume.host = strdup(send_session_host(l->session));
    l->resume.session = t;
    if (l->resume.host == NULL)
        tls_session_free(&l->resume.session);
}

/* The session is for mail of one login; a copy of it goes there. */
static int want_login(struct sched *s, struct lane *l, const struct delivery *j,
                      struct err *e)
{
    const struct destination *d = j->rcpt[0].rcpt->place;
    struct session_login *copy;

    if (d->login == ROUTE_NO_LOGIN)
        return 0;
    copy = session_login_new(s->logins, d->login, d->host, d->port);
    if (copy == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "a login is not to be had now");
    copy->tls = (enum conf_tls)d->tls;
    send_session_want_login(l->session, copy);
    return 0;
}

static int open_session(struct sched *s, struct lane *l, struct delivery *j,
                        struct err *e)
{
    struct send_limits known =
        learned_get(&s->lane.learned, &l->peer, sched_seconds(s));

    known.configured = send_delivery_of(j)->configured;
    known.lmtp = send_delivery_of(j)->lmtp;
    known.group = provider_of(&s->conf->send.providers, j->host);
    l->session = send_session_new(&l->peer, j->host, &known);
    if (l->session == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a session");
    if (want_login(s, l, j, e) != 0) {
        send_session_free(&l->session);
        return -1;
    }
    want_tls(l, j, &known);
    send_session_set_lane(l->session, l);
    l->ended = false;
    l->serial += l->serial + 1 == 0 ? 2 : 1;
    l->unopened = true;
    s->lane.sessions++;
    pace_opened(l);
    return 0;
}

int lane_give(struct sched *s, struct lane *l, struct delivery *j, bool alone,
              struct err *e)
{
    struct send_delivery *d = send_delivery_of(j);

    if (!lane_is_open(l) && open_session(s, l, j, e) != 0)
        return -1;
    d->lane = l;
    d->session = l->session;
    d->serial = l->serial;
    j->offered = true;
    j->peer = l->peer;
    addr_port_text(j->address, &l->peer);
    l->alone = alone;
    l->out++;
    l->out_rcpts += j->nrcpt;
    d->line = l->out;
    window_given(&l->window, d->line);
    pace_given(l);
    profile_turn_count(l);
    s->lane.deliveries++;
    d->given.since = loop_now(s->loop);
    list_push(&s->lane.given, &d->given.link);
    signing_give(s, d);
    return 0;
}

void lane_hand(struct sched *s, struct send_delivery *d)
{
    struct lane *l = d->lane;

    if (l->unopened)
        s->calls->give(l->worker, send_session_note(l->session));
    l->unopened = false;
    s->calls->give(l->worker, &d->note);
}

bool lane_is_awaited(const struct lane *l)
{
    for (int i = 0; i < LINES; i++)
        if (!list_empty(&l->line[i]))
            return true;
    return l->trial && !list_empty(&l->parked);
}

void lane_want_session(struct sched *s, struct lane *l)
{
    if (lane_is_awaited(l) && lane_is_up(s, l) && !l->ended &&
        !pace_allows(l)) {
        pace_wait(l);
        return;
    }
    if (!lane_is_awaited(l) || !lane_is_clear(s, l) || lane_is_open(l) ||
        l->ended || list_linked(&l->opening) || lane_has_room(s, l))
        return;
    list_push(&s->lane.opening, &l->opening);
    set_hurry(s);
}

/* A hop that waits in that line already keeps its place. */
void lane_wait(struct sched *s, struct hop *h, enum lane_line line)
{
    struct lane *l = h->lane;

    if (hop_misfits(h)) {
        line = LINE_MISFIT;
        profile_turn_limit(l);
    }
    if (!list_linked(&h->wait) || h->line != line) {
        list_remove(&h->wait);
        if (line == LINE_SUSPECT && list_empty(&l->line[line]))
            l->suspects_since = sched_seconds(s);
        h->line = (uint8_t)line;
        list_push(&l->line[line], &h->wait);
    }
    if (lane_has_room(s, l) || profile_turn_is_over(l))
        ready_lane(s, l);
    else
        lane_want_session(s, l);
}

static struct hop *take(struct list *line)
{
    struct list *w = list_pop(line);

    return w != NULL ? LIST_ENTRY(w, struct hop, wait) : NULL;
}

/* They go last and alone. */
struct hop *lane_next_suspect(struct sched *s, struct lane *l)
{
    if (l->out > 0 || !lane_has_room(s, l))
        return NULL;
    l->suspects_since = sched_seconds(s);
    return take(&l->line[LINE_SUSPECT]);
}

struct hop *lane_next(struct sched *s, struct lane *l)
{
    bool probe = l->trial && !list_empty(&l->parked);

    if (!lane_has_room(s, l))
        return NULL;
    if (is_suspects_turn(s, l) && l->out == 0)
        return lane_next_suspect(s, l);
    for (int i = 0; i < LINE_SUSPECT; i++)
        if (!list_empty(&l->line[i]))
            return take(&l->line[i]);
    return probe ? NULL : lane_next_suspect(s, l);
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

/* Destinations that wait here must find another lane, or park their mail; what
 * waits for this host alone is not offered here. */
static void send_away(struct sched *s, struct lane *l)
{
    struct list *w;

    for (int i = 0; i < LINES; i++)
        while ((w = list_pop(&l->line[i])) != NULL) {
            struct hop *h = LIST_ENTRY(w, struct hop, wait);
            next_mx_give_up(s, h);
            ready_destination(h->destination);
        }
}

/* The lane is shut again: parked mail whose time has come does a round. */
static void look_after_parked(struct lane *l)
{
    for (struct list *p = l->parked.next; p != &l->parked; p = p->next) {
        struct destination *d = LIST_ENTRY(p, struct hop, park)->destination;
        d->round = true;
        ready_destination(d);
    }
}

void lane_turn_away(struct sched *s, struct lane *l)
{
    send_away(s, l);
    look_after_parked(l);
}

static void reap(struct sched *s, struct lane *l)
{
    keep_tls(l);
    send_session_free(&l->session);
    l->ended = l->unopened = false;
    s->lane.sessions--;
    pace_closed(l);
    profile_turn_next(l);
    if (lane_is_up(s, l))
        ready_lane(s, l);
    else
        lane_turn_away(s, l);
    free_unused(s, l);
}

/* Nothing of it is with the worker any more. */
static void reap_if_idle(struct sched *s, struct lane *l)
{
    if (l->ended && l->out == 0 && !l->leaving)
        reap(s, l);
}

void lane_measure(struct sched *s, const struct send_delivery *d)
{
    struct lane *l = d->lane;
    bool untouched = d->delivery.rcpt[0].answer.outcome == OUTCOME_NONE;

    if (!untouched)
        window_back(&l->window, d->line, loop_now(s->loop) - d->given.since);
    pace_back_from(l, &d->delivery);
}

void lane_delivery_back(struct sched *s, struct lane *l, size_t nrcpt)
{
    l->out--;
    l->out_rcpts -= nrcpt;
    l->alone &= l->out > 0;
    s->lane.deliveries--;
    l->ended |= l->unopened && l->out == 0; /* none of them was signed */
    if (!l->ended)
        ready_lane(s, l);
    else
        reap_if_idle(s, l);
}

void lane_ended(struct sched *s, struct lane *l)
{
    const struct send_session_end *end = send_session_end(l->session);

    l->ended = true;
    learned_put(&s->lane.learned, &l->peer, &end->learned, sched_seconds(s));
    lane_state_judge(s, l);
    reap_if_idle(s, l);
}

void lane_left(struct sched *s, struct lane *l)
{
    l->leaving = false;
    reap_if_idle(s, l);
}
