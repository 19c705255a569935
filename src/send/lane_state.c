/* lane_state.c - shut, on trial, paused: what a lane's past means for its use.
 *
 * What a failure means stands in fault.c.  Here is what it leads to: a shut
 * lane opens after 1, 2, 4 ... 30 minutes; a lost session is replaced at once,
 * and without a delivery between after 1, 2, 4 ... 60 s. */
#include "send/lane_state.h"

#include "log/log.h"
#include "send/fault.h"
#include "send/pace.h"
#include "send/ready.h"
#include "send/sched.h"
#include "send/session.h"

#include <string.h>

enum {
    LOCAL_FAULT_SECONDS = 5,
    CUT_SECONDS = 1, /* the host is not at fault for damage in our queue */
    RECONNECT_SECONDS = 60, /* at most */
    NOTHING_OFFERED_SECONDS = 5,
    FAILURES_MAX = 32,
    UNUSED_MAX = 10000,
    FORGET_MS = 3600 * 1000
};

/* --- its use ------------------------------------------------------------- */

bool lane_is_up(const struct sched *s, const struct lane *l)
{
    return l->shut_until <= loop_now(s->loop);
}

static bool is_paused(const struct sched *s, const struct lane *l)
{
    return l->paused_until > loop_now(s->loop);
}

bool lane_is_clear(const struct sched *s, const struct lane *l)
{
    return lane_is_up(s, l) && !is_paused(s, l) && !pace_is_held(l);
}

struct lane_state lane_state(const struct sched *s, const struct lane *l)
{
    char text[PACE_REASON_MAX];
    uint64_t until;

    if (!lane_is_up(s, l))
        return (struct lane_state){ LANE_IS_SHUT, l->shut_until, &l->why };
    if (is_paused(s, l))
        return (struct lane_state){ LANE_IS_PAUSED, l->paused_until, &l->why };
    if (pace_reason(l, &until, text))
        return (struct lane_state){ LANE_IS_PACED, until, NULL };
    return (struct lane_state){ l->trial ? LANE_IS_ON_TRIAL : LANE_IS_UP, 0,
                                NULL };
}

bool lane_state_any_awaited(const struct sched *s)
{
    const struct list *all = &s->lane.pausing;

    for (const struct list *p = all->next; p != all; p = p->next)
        if (lane_is_awaited(LIST_ENTRY(p, struct lane, pausing)))
            return true;
    return false;
}

/* --- the clock ----------------------------------------------------------- */

static uint64_t opens_at(const struct lane *l)
{
    return l->shut_until > l->paused_until ? l->shut_until : l->paused_until;
}

static void set_timer(struct sched *s, struct lane *l)
{
    uint64_t now = loop_now(s->loop), until = opens_at(l);

    list_remove(&l->pausing);
    if (until <= now) {
        loop_timer_clear(s->loop, &l->opens);
        ready_lane(s, l);
        return;
    }
    loop_timer_set(s->loop, &l->opens, until - now);
    if (lane_is_up(s, l))
        list_push(&s->lane.pausing, &l->pausing);
}

static void on_opens(struct loop_timer *t)
{
    struct lane *l = LOOP_ENTRY(t, struct lane, opens);

    if (l->unused)
        lane_forget(l->sched, l);
    else
        set_timer(l->sched, l);
}

void lane_state_init(struct lane *l)
{
    l->opens.fn = on_opens;
}

void lane_state_done(struct lane *l)
{
    loop_timer_clear(l->sched->loop, &l->opens);
    list_remove(&l->pausing);
}

bool lane_state_keep(struct sched *s, struct lane *l)
{
    uint64_t opens = opens_at(l), now = loop_now(s->loop);

    if (l->unused || s->stopping || s->lane.unused == UNUSED_MAX ||
        (opens <= now && l->failures == 0 && l->reconnects == 0 &&
         l->nlost == 0 && !l->refused))
        return l->unused;
    list_remove(&l->pausing);
    list_remove(&l->ready);
    list_remove(&l->opening);
    l->unused = true;
    s->lane.unused++;
    loop_timer_set(s->loop, &l->opens,
                   (opens > now ? opens - now : 0) + FORGET_MS);
    return true;
}

void lane_state_use_again(struct sched *s, struct lane *l)
{
    if (!l->unused)
        return;
    l->unused = false;
    s->lane.unused--;
    set_timer(s, l);
}

static void pause_for(struct sched *s, struct lane *l, unsigned seconds)
{
    l->paused_until = loop_now(s->loop) + seconds * (uint64_t)1000;
    set_timer(s, l);
}

void lane_state_wait(struct sched *s, struct lane *l)
{
    pause_for(s, l, NOTHING_OFFERED_SECONDS);
}

/* --- verdicts ------------------------------------------------------------ */

/* Has a third message lost its session? */
static bool is_third_lost(struct lane *l, struct msg_id id)
{
    for (unsigned i = 0; i < l->nlost; i++)
        if (msg_id_eq(l->lost[i], id))
            return false;
    if (l->nlost == 2)
        return true;
    l->lost[l->nlost++] = id;
    return false;
}

/* Since the lane was last shut the host has delivered nothing: its trial has
 * failed. */
static bool is_failed_trial(const struct lane *l,
                            const struct send_session_end *end)
{
    return l->failures > 0 && end->delivered == 0 &&
           (end->lost || (l->trial && end->lane == LANE_REOPENS));
}

/* What one message did for itself, the next one makes the host's. */
static enum fault_lane judge(struct lane *l, const struct send_session_end *end)
{
    struct fault f = { .when = FAULT_SESSIONS };

    if (end->delivered > 0) {
        l->nlost = 0;
        l->refused = false;
    }
    if (is_failed_trial(l, end) ||
        (end->lost && is_third_lost(l, end->lost_id)))
        f.what = FAULT_THREE_LOST;
    if (end->refused && l->refused &&
        !msg_id_eq(l->refused_id, end->refused_id))
        f.what = FAULT_TWO_MAILS;
    if (end->refused) {
        l->refused = true;
        l->refused_id = end->refused_id;
    }
    enum fault_lane row = f.what != 0 ? fault_judge(&f)->lane : end->lane;
    return row > end->lane ? row : end->lane;
}

static void report(const struct lane *l, unsigned seconds)
{
    char address[ADDR_PORT_TEXT];

    addr_port_text(address, &l->peer);
    LOG(LOG_WARN, "send.unreachable", LS("mx", send_session_host(l->session)),
        LS("address", address), LS("error", l->why.text), LN("pause", seconds));
}

static void shut(struct sched *s, struct lane *l)
{
    l->failures += l->failures < FAILURES_MAX;
    unsigned seconds = retry_backoff(&s->queue.rule, l->failures);
    l->shut_until = loop_now(s->loop) + seconds * (uint64_t)1000;
    l->paused_until = 0;
    l->reconnects = l->nlost = 0;
    l->refused = l->log.said = false;
    l->trial = true;
    set_timer(s, l);
    report(l, seconds);
}

/* All mail that waits here, and elsewhere for the same host, turns to others
 * now; a session that is open ends by itself. */
void lane_state_shut_until(struct sched *s, struct lane *l, uint64_t until,
                           const char *why)
{
    l->shut_until = l->shut_until > until ? l->shut_until : until;
    if (why != NULL)
        answer_set(&l->why, OUTCOME_DEFERRED, "4.7.0", "%s", why);
    l->paused_until = 0;
    l->log.said = false;
    l->trial = true;
    if (l->unused)
        return;
    set_timer(s, l);
    if (l->session == NULL)
        lane_turn_away(s, l);
}

/* The first is replaced at once; the pause before another doubles. */
static void reconnect(struct sched *s, struct lane *l, unsigned most)
{
    unsigned n = l->reconnects, seconds = most;

    l->reconnects += l->reconnects < FAILURES_MAX;
    if (n < 7)
        seconds = n == 0 ? 0 : 1u << (n - 1);
    if (seconds > most)
        seconds = most;
    if (seconds > 0)
        pause_for(s, l, seconds);
}

static void set_why(struct lane *l, const struct answer *why)
{
    l->why = *why;
    l->why.outcome = OUTCOME_DEFERRED;
    l->why.damaged = l->why.misconfigured = false;
}

void lane_state_judge(struct sched *s, struct lane *l)
{
    const struct send_session_end *end = send_session_end(l->session);
    enum fault_lane verdict = judge(l, end);

    if (end->delivered > 0) {
        lane_state_replied(s, l);
        l->failures = l->reconnects = 0;
    }
    if (end->fault || verdict >= LANE_SLOWS)
        set_why(l, &end->why);
    if (end->local) {
        pause_for(s, l, LOCAL_FAULT_SECONDS);
        report(l, LOCAL_FAULT_SECONDS);
        return;
    }
    switch (verdict) {
    case LANE_GOES_ON:
    case LANE_LEARNS:
        if (!end->refused)
            l->failures = l->reconnects = 0;
        break;
    case LANE_CUTS: reconnect(s, l, CUT_SECONDS); break;
    case LANE_LEAVES:
    case LANE_REOPENS: reconnect(s, l, RECONNECT_SECONDS); break;
    case LANE_SLOWS: pace_take_sign(l, end); break;
    case LANE_SHUTS:
        if (end->unanswered)
            pace_take_refused(l);
        shut(s, l);
        break;
    case LANE_STOPS: pace_take_stop(l, end); break;
    }
}

/* A reply to mail that was on its way when the lane was shut ends no trial:
 * that begins when it opens. */
void lane_state_replied(struct sched *s, struct lane *l)
{
    if (!l->trial || !lane_is_up(s, l))
        return;
    l->trial = false;
    for (struct list *p = l->parked.next; p != &l->parked; p = p->next)
        ready_destination(LIST_ENTRY(p, struct hop, park)->destination);
    ready_lane(s, l);
}

static void flush(struct sched *s, struct lane *l)
{
    if (l->unused) {
        lane_forget(s, l);
        return;
    }
    l->shut_until = l->paused_until = 0;
    set_timer(s, l);
    lane_state_replied(s, l);
}

void lane_state_flush(struct sched *s)
{
    for (size_t i = 0; i <= s->lane.all.mask; i++)
        for (struct map_link *m = s->lane.all.bucket[i], *next; m != NULL;
             m = next) {
            next = m->next;
            flush(s, MAP_ENTRY(m, struct lane, link));
        }
}
