#include "send/profile_turns.h"

#include "send/ready.h"
#include "send/sched.h"
#include "send/session.h"

enum { TURN_MESSAGES = 100, TURN_MS = 10000 };

static bool is_limited(const struct lane *l)
{
    return !list_empty(&l->line[LINE_MISFIT]);
}

/* TLS may work again: a session that never rests is not to go on in clear. */
static bool is_clear_over(const struct lane *l)
{
    return l->clear_until != 0 && sched_seconds(l->sched) >= l->clear_until;
}

static void on_turn(struct loop_timer *t)
{
    struct lane *l = LOOP_ENTRY(t, struct lane, turn);

    l->turn_over = true;
    ready_lane(l->sched, l);
}

void profile_turn_init(struct lane *l)
{
    l->turn.fn = on_turn;
}

void profile_turn_done(struct lane *l)
{
    loop_timer_clear(l->sched->loop, &l->turn);
}

void profile_turn_limit(struct lane *l)
{
    if (l->turn_left > 0 || l->turn_over)
        return;
    l->turn_left = TURN_MESSAGES;
    loop_timer_set(l->sched->loop, &l->turn, TURN_MS);
}

void profile_turn_count(struct lane *l)
{
    if (l->turn_left > 0 && --l->turn_left == 0)
        l->turn_over = true;
}

bool profile_turn_is_over(const struct lane *l)
{
    return l->leaving || (l->turn_over && is_limited(l)) || is_clear_over(l);
}

void profile_turn_see(struct lane *l)
{
    struct sched *s = l->sched;

    if ((!is_limited(l) && !l->pace.yields && !is_clear_over(l)) ||
        !lane_is_open(l) || l->out > 0 || l->leaving)
        return;
    l->leaving = true;
    s->calls->give(l->worker, send_session_leave(l->session));
}

/* They are first in the next session, whichever line they came from. */
void profile_turn_next(struct lane *l)
{
    struct list *misfits = &l->line[LINE_MISFIT], *first;

    profile_turn_done(l);
    l->turn_left = 0;
    l->turn_over = false;
    l->clear_until = 0;
    first = misfits->next;
    for (; first != misfits; first = first->next)
        LIST_ENTRY(first, struct hop, wait)->line = LINE_FIRST;
    list_splice(misfits, &l->line[LINE_FIRST]);
    list_splice(&l->line[LINE_FIRST], misfits);
}
