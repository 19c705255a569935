/* pace.c - whose pace it is, and whose turn. */
#include "send/pace.h"

#include "send/lane_state.h"
#include "send/pace_private.h"
#include "send/provider.h"
#include "send/ready.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BUCKETS = 1024,
    WOKEN_MAX = 16,   /* lanes at a time */
    SETTLE_MS = 1000, /* in which a host forgets a session that has ended */
    TURN_MS = 10000,  /* a session goes on while another lane waits for one, */
    TURN_MESSAGES = 100,
    AGAIN_MS = 1000, /* those that a wake-up did not reach */
    AWAITED_MS = 60000
};

uint64_t pace_now(const struct pace *p)
{
    return loop_now(p->sched->loop);
}

/* --- all of them ---------------------------------------------------------- */

static void see(struct pace *p);
static void on_wake(struct loop_timer *t);
static void on_minute(struct loop_timer *t);

struct pace *pace_find(const struct sched *s, const char *name)
{
    uint64_t hash = map_hash(name, strlen(name));

    for (struct map_link *m = map_first(&s->pace.all, hash); m != NULL;
         m = map_next(m)) {
        struct pace *p = MAP_ENTRY(m, struct pace, link);
        if (strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

static void free_pace(struct pace *p)
{
    struct sched *s = p->sched;

    loop_timer_clear(s->loop, &p->wake);
    loop_timer_clear(s->loop, &p->minute);
    list_remove(&p->busy);
    list_remove(&p->known);
    map_remove(&s->pace.all, &p->link);
    free(p);
}

/* Of those whose lanes are gone the one that was longest without a sign. */
static bool make_room(struct sched *s)
{
    for (struct list *l = s->pace.known.next; l != &s->pace.known;
         l = l->next) {
        struct pace *p = LIST_ENTRY(l, struct pace, known);
        if (list_empty(&p->lanes)) {
            free_pace(p);
            return true;
        }
    }
    return false;
}

/* No group has a ":" in its name, and every address has one. */
struct pace *pace_get(struct sched *s, const char *name)
{
    struct pace *p = pace_find(s, name);

    if (p != NULL || (s->pace.all.n >= PACES_MAX && !make_room(s)))
        return p;
    if ((p = calloc(1, sizeof *p)) == NULL)
        return NULL;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->sched = s;
    p->group = strchr(name, ':') == NULL;
    p->wake.fn = on_wake;
    p->minute.fn = on_minute;
    list_init(&p->lanes);
    list_init(&p->tokens);
    list_init(&p->slots);
    list_push(&s->pace.known, &p->known);
    map_add(&s->pace.all, &p->link, map_hash(name, strlen(name)));
    return p;
}

int pace_open(struct sched *s)
{
    if (map_init(&s->pace.all, BUCKETS) != 0)
        return -1;
    pace_load(s);
    return 0;
}

void pace_close(struct sched *s)
{
    if (s->pace.all.bucket == NULL)
        return;
    pace_save(s);
    while (!list_empty(&s->pace.known))
        free_pace(LIST_ENTRY(s->pace.known.next, struct pace, known));
    map_done(&s->pace.all);
    if (s->pace.dir_fd >= 0)
        close(s->pace.dir_fd);
}

/* --- lanes ---------------------------------------------------------------- */

/* For another lane's mail the reply is that of its provider. */
static void shut_lane(struct pace *p, struct lane *l, bool own)
{
    char why[DELIVERY_TEXT_MAX + PACE_NAME_MAX + 16];

    snprintf(why, sizeof why, "pace of %s: %s", p->name, p->why);
    lane_state_shut_until(p->sched, l, p->shut_until, own ? NULL : why);
}

static void attach(struct pace *p, struct lane *l)
{
    l->pace.of = p;
    list_push(&p->lanes, &l->pace.lanes);
    p->open += l->session != NULL;
    if (p->shut_until > pace_now(p))
        shut_lane(p, l, false);
}

void pace_leave(struct lane *l)
{
    struct pace *p = l->pace.of;

    if (p == NULL)
        return;
    list_remove(&l->pace.lanes);
    list_remove(&l->pace.waits);
    p->open -= l->session != NULL;
    l->pace.of = NULL;
}

/* A provider's name counts more than what the lane had for itself: other
 * domains know the host by names of their own. */
void pace_join(struct sched *s, struct lane *l, const char *host)
{
    char address[ADDR_PORT_TEXT];
    const char *group = provider_of(&s->conf->send.providers, host);
    struct pace *p = NULL;

    if (l->pace.of != NULL && (group == NULL || l->pace.of->group))
        return;
    if (group != NULL) {
        p = pace_get(s, group);
    } else if (s->pace.all.n > 0) {
        addr_port_text(address, &l->peer);
        p = pace_find(s, address);
    }
    if (p == NULL)
        return;
    pace_leave(l);
    attach(p, l);
}

struct pace *pace_of(struct lane *l)
{
    char address[ADDR_PORT_TEXT];
    struct pace *p;

    if (l->pace.of == NULL) {
        addr_port_text(address, &l->peer);
        p = pace_get(l->sched, address);
        if (p != NULL)
            attach(p, l);
    }
    return l->pace.of;
}

void pace_opened(struct lane *l)
{
    struct pace *p = l->pace.of;

    if (p == NULL)
        return;
    p->open++;
    list_remove(&l->pace.lanes);
    list_push(&p->lanes, &l->pace.lanes);
}

void pace_closed(struct lane *l)
{
    struct pace *p = l->pace.of;

    l->pace.yields = false;
    l->pace.turn = 0;
    if (p == NULL)
        return;
    p->open--;
    p->closed_at = pace_now(p);
    see(p);
}

/* --- whose turn ----------------------------------------------------------- */

bool pace_is_held(const struct lane *l)
{
    const struct pace *p = l->pace.of;

    return p != NULL && p->held_until > pace_now(p);
}

static bool has_slot(const struct pace *p)
{
    return p->limit.sessions == 0 || (p->open < p->limit.sessions &&
                                      pace_now(p) >= p->closed_at + SETTLE_MS);
}

static bool has_turn(const struct lane *l)
{
    return l->session != NULL ? !l->pace.yields : has_slot(l->pace.of);
}

bool pace_allows(const struct lane *l)
{
    const struct pace *p = l->pace.of;

    return p == NULL || (!pace_is_held(l) && has_turn(l) &&
                         pace_may(&p->limit, p->next, pace_now(p) * 1000));
}

/* --- waiting -------------------------------------------------------------- */

/* ms of the loop. */
static uint64_t wakes_at(const struct pace *p)
{
    uint64_t at = UINT64_MAX;

    if (p->held_until > pace_now(p))
        return p->held_until;
    if (!list_empty(&p->tokens))
        at = (pace_when(&p->limit, p->next) + 999) / 1000;
    if (!list_empty(&p->slots) && !has_slot(p) && p->slots_since + TURN_MS < at)
        at = p->slots_since + TURN_MS;
    return at;
}

/* At the least once a second: a lane may have been let go and have no use for
 * it. */
static void set_wake(struct pace *p)
{
    uint64_t now = pace_now(p), at = wakes_at(p);

    if (list_empty(&p->tokens) && list_empty(&p->slots)) {
        loop_timer_clear(p->sched->loop, &p->wake);
        list_remove(&p->busy);
        return;
    }
    if (!list_linked(&p->busy))
        list_push(&p->sched->pace.busy, &p->busy);
    if (p->held_until <= now && at > now + AGAIN_MS)
        at = now + AGAIN_MS;
    loop_timer_set(p->sched->loop, &p->wake, at > now ? at - now : 1);
}

/* They keep their place until they are given something. */
static void let_go(struct pace *p, struct list *waiting, unsigned most)
{
    for (struct list *l = waiting->next, *next; l != waiting && most > 0;
         l = next) {
        struct lane *lane = LIST_ENTRY(l, struct lane, pace.waits);
        next = l->next;
        if (lane_is_awaited(lane)) {
            ready_lane(p->sched, lane);
            most--;
        } else {
            list_remove(l);
        }
    }
}

/* The one with the oldest session, of those with one, makes room. */
static void have_one_yield(struct pace *p)
{
    for (struct list *l = p->lanes.next; l != &p->lanes; l = l->next) {
        struct lane *lane = LIST_ENTRY(l, struct lane, pace.lanes);
        if (lane->session != NULL && !lane->pace.yields) {
            lane->pace.yields = true;
            ready_lane(p->sched, lane);
            return;
        }
    }
}

static void see_slots(struct pace *p)
{
    uint64_t now = pace_now(p);

    if (list_empty(&p->slots))
        return;
    if (has_slot(p)) {
        let_go(p, &p->slots, WOKEN_MAX);
    } else if (p->open >= p->limit.sessions &&
               now >= p->slots_since + TURN_MS) {
        p->slots_since = now;
        have_one_yield(p);
    }
}

/* The limits are others: let go those that may. */
static void see(struct pace *p)
{
    if (p->held_until <= pace_now(p)) {
        if (pace_may(&p->limit, p->next, pace_now(p) * 1000))
            let_go(p, &p->tokens, WOKEN_MAX);
        see_slots(p);
    }
    set_wake(p);
}

static void on_wake(struct loop_timer *t)
{
    see(LOOP_ENTRY(t, struct pace, wake));
}

void pace_wait(struct lane *l)
{
    struct pace *p = l->pace.of;
    bool slot = !has_turn(l);

    if (list_linked(&l->pace.waits) && l->pace.for_slot != slot)
        list_remove(&l->pace.waits);
    if (!list_linked(&l->pace.waits)) {
        if (slot && list_empty(&p->slots))
            p->slots_since = pace_now(p);
        l->pace.for_slot = slot;
        list_push(slot ? &p->slots : &p->tokens, &l->pace.waits);
    }
    if (!loop_timer_is_set(&p->wake))
        set_wake(p);
}

void pace_given(struct lane *l)
{
    struct pace *p = l->pace.of;

    if (p == NULL)
        return;
    list_remove(&l->pace.waits);
    p->next = pace_after(&p->limit, p->next, pace_now(p) * 1000);
    if (!list_empty(&p->slots) && ++l->pace.turn >= TURN_MESSAGES)
        l->pace.yields = true;
    if (list_linked(&p->busy))
        set_wake(p);
}

/* --- what the hosts took -------------------------------------------------- */

static void count(struct lane *l)
{
    uint64_t minute = loop_now(l->sched->loop) / 60000;

    if (l->pace.minute != minute) {
        l->pace.before = l->pace.minute + 1 == minute ? l->pace.now : 0;
        l->pace.now = 0;
        l->pace.minute = minute;
    }
    l->pace.now++;
}

/* The minute under way, or the one before if it had more. */
uint32_t pace_recent(const struct pace *p)
{
    uint64_t minute = pace_now(p) / 60000;
    uint32_t now = 0, before = 0;

    for (const struct list *l = p->lanes.next; l != &p->lanes; l = l->next) {
        const struct lane *lane = LIST_ENTRY(l, struct lane, pace.lanes);
        if (lane->pace.minute == minute) {
            now += lane->pace.now;
            before += lane->pace.before;
        } else if (lane->pace.minute + 1 == minute) {
            before += lane->pace.now;
        }
    }
    return now > before ? now : before;
}

void pace_back_from(struct lane *l, const struct delivery *j)
{
    enum outcome outcome = j->rcpt[0].answer.outcome;
    struct pace *p = l->pace.of;

    if (outcome != OUTCOME_NONE)
        count(l);
    pace_read_answers(l, j);
    if (p == NULL)
        return;
    if (outcome == OUTCOME_NONE)
        p->next = pace_back(&p->limit, p->next);
    if (outcome == OUTCOME_DELIVERED) {
        p->taken++;
        p->accuser[0] = p->accuser[1] = 0;
    }
}

/* --- time ----------------------------------------------------------------- */

static void lift(struct pace *p)
{
    p->limit = (struct pace_rate){ .rate = 0 };
    p->forget_at = 0;
}

/* One that is limited goes on counting its minutes. */
static void on_minute(struct loop_timer *t)
{
    struct pace *p = LOOP_ENTRY(t, struct pace, minute);
    uint64_t now = pace_now(p);

    if (now >= p->forget_at)
        lift(p);
    else if (pace_was_used(&p->limit, p->taken) && p->held_until <= now)
        pace_grow(&p->limit);
    p->taken = 0;
    pace_save_soon(p->sched);
    if (pace_is_limited(&p->limit) || p->limit.signs > 0) {
        loop_timer_set(p->sched->loop, t, 60000);
    } else {
        lift(p);
        pace_report_lifted(p);
    }
    see(p);
}

void pace_hold(struct pace *p, uint64_t until, bool shut,
               const struct lane *from)
{
    p->held_until = until;
    p->taken = 0;
    loop_timer_set(p->sched->loop, &p->minute, 60000);
    if (shut)
        p->shut_until = until;
    for (struct list *l = p->lanes.next, *next; shut && l != &p->lanes;
         l = next) {
        struct lane *lane = LIST_ENTRY(l, struct lane, pace.lanes);
        next = l->next;
        shut_lane(p, lane, lane == from);
    }
    set_wake(p);
}

void pace_flush(struct sched *s)
{
    for (struct list *l = s->pace.known.next; l != &s->pace.known;
         l = l->next) {
        struct pace *p = LIST_ENTRY(l, struct pace, known);
        p->held_until = p->shut_until = p->next = p->closed_at = 0;
        see(p);
    }
    pace_save_soon(s);
}

/* --- what is known of it -------------------------------------------------- */

bool pace_any_awaited(const struct sched *s)
{
    const struct list *all = &s->pace.busy;

    for (const struct list *l = all->next; l != all; l = l->next) {
        const struct pace *p = LIST_ENTRY(l, struct pace, busy);
        if (p->held_until <= pace_now(p) + AWAITED_MS)
            return true;
    }
    return false;
}

static void add_limit(struct buf *text, uint32_t n, const char *what,
                      const char *when)
{
    if (n > 0)
        buf_addf(text, ", %u %s%s %s", (unsigned)n, what, n == 1 ? "" : "s",
                 when);
}

bool pace_reason(const struct lane *l, uint64_t *until,
                 char out[PACE_REASON_MAX])
{
    const struct pace *p = l->pace.of;
    struct buf text;

    if (!pace_is_held(l) && (p == NULL || !list_linked(&l->pace.waits)))
        return false;
    buf_init(&text, out, PACE_REASON_MAX);
    buf_addf(&text, "pace of %s", p->name);
    add_limit(&text, p->limit.rate, "message", "a minute");
    add_limit(&text, p->limit.sessions, "session", "at once");
    buf_addf(&text, ", since: %s", p->why);
    *until = wakes_at(p);
    if (l->pace.for_slot && !pace_is_held(l))
        *until = 0;
    return true;
}
