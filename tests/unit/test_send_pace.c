/* test_send_pace.c - the pace of providers and lanes in the scheduler: what a
 * sign slows, whose turn it is, what a restart keeps. */
#include "sched_rig.h"

#include "send/pace_private.h"
#include "send/refusal.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sched_rig *r;

/* "big" has three hosts of its domains, and a backup of ranks.test is not its;
 * all of small.test is none's. */
static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.big" }, { "127.0.1.1" } },
    { "two.test", MX_OK, { "mx.two.big" }, { "127.0.1.2" } },
    { "three.test", MX_OK, { "mx.three.big" }, { "127.0.1.3" } },
    { "same.test", MX_OK, { "mx.same.big" }, { "127.0.1.1" } },
    { "small.test", MX_OK, { "mx.small" }, { "127.0.2.1" } },
    { "front1.test", MX_OK, { "a.mimecast.com" }, { "127.0.3.1" } },
    { "front2.test", MX_OK, { "b.mimecast.com" }, { "127.0.3.2" } },
    { "ranks.test",
      MX_OK,
      { "mx.r.big", "b.test" },
      { "127.0.1.4", "127.0.2.2" } },
};

static const char *const settings[] = { "send.providers=big=.big", NULL };

static void open_rig(void)
{
    r = sched_rig_open(settings);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
}

static void close_rig(void)
{
    sched_rig_close(&r);
}

/* --- a worker in few words ------------------------------------------------ */

static struct delivery *next(void)
{
    struct delivery *j = sched_rig_next(r);

    ck_assert_ptr_nonnull(j);
    return j;
}

static void none(void)
{
    ck_assert_ptr_null(sched_rig_next(r));
}

static struct send_session *session_of(struct delivery *j)
{
    return send_delivery_of(j)->session;
}

static struct pace *pace_named(const char *name)
{
    for (struct list *l = r->s.pace.known.next; l != &r->s.pace.known;
         l = l->next) {
        struct pace *p = LIST_ENTRY(l, struct pace, known);
        if (strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

/* Its deliveries that were not begun come back, those of others stay. */
static void end(struct send_session *s, struct send_session_end e)
{
    struct list others, *l;

    list_init(&others);
    while ((l = list_pop(&r->given)) != NULL) {
        struct delivery *j =
            delivery_of_note(LIST_ENTRY(l, struct work_item, link));
        list_push(session_of(j) == s ? &r->taken : &others, l);
        if (session_of(j) == s)
            sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
    }
    list_splice(&r->given, &others);
    sched_rig_end(r, s, &e);
}

static void end_well(struct send_session *s)
{
    end(s, (struct send_session_end){ .mail = MAIL_UNTOUCHED });
}

static void sign(struct delivery *j, enum refusal_kind kind, const char *reply)
{
    struct send_session_end e = { .lane = kind == REFUSAL_BLOCKED ? LANE_STOPS
                                                                  : LANE_SLOWS,
                                  .mail = MAIL_UNTOUCHED };
    struct send_session *s = session_of(j);

    answer_set(&e.why, OUTCOME_DEFERRED, NULL, "%s", reply);
    e.why.refusal = (unsigned char)kind;
    sched_rig_effect(r, j, MAIL_ATTEMPT, reply);
    end(s, e);
}

static void slow(struct delivery *j)
{
    sign(j, REFUSAL_RATE, "451 4.7.650 rate limited");
}

static void deliver(struct delivery *j)
{
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
}

static void add_many(const char *to, int n)
{
    for (int i = 0; i < n; i++)
        sched_rig_add(r, "s@here.test", to);
    sched_rig_turn(r);
}

/* So many of all that is given now are taken; the number by host. */
static int deliver_all(const char *host)
{
    struct delivery *j;
    int n = 0;

    while ((j = sched_rig_next(r)) != NULL) {
        n += host == NULL || strcmp(j->host, host) == 0;
        deliver(j);
    }
    return n;
}

/* --- a sign ----------------------------------------------------------------- */

START_TEST(without_a_sign_nothing_waits)
{
    add_many("a@one.test", 300);
    ck_assert_int_eq(deliver_all("mx.one.big"), 300);
    ck_assert(list_empty(&r->s.pace.busy));
    ck_assert(!pace_is_limited(&pace_named("big")->limit));
}
END_TEST

START_TEST(a_sign_holds_the_group_and_none_else)
{
    add_many("a@one.test", 4);
    add_many("a@two.test", 4);
    add_many("a@small.test", 1);
    struct delivery *a = next();
    ck_assert_str_eq(a->host, "mx.one.big");
    slow(a);
    struct delivery *j;
    while ((j = sched_rig_next(r)) != NULL)
        deliver(j); /* what was given before goes on */
    add_many("b@small.test", 100);
    ck_assert_int_eq(deliver_all("mx.small"), 100);
    add_many("b@two.test", 1);
    none();
    sched_rig_wait(r, 58);
    none();
    sched_rig_wait(r, 3);
    next();
}
END_TEST

START_TEST(a_domain_with_another_host_uses_that)
{
    add_many("a@one.test", 1);
    sign(next(), REFUSAL_BLOCKED, "550 5.7.1 block list (S3150)");
    add_many("a@ranks.test", 3);
    ck_assert_int_eq(deliver_all("b.test"), 3);
}
END_TEST

/* Half of what there was in the minute, evenly. */
START_TEST(after_the_pause_it_is_half_as_fast)
{
    add_many("a@one.test", 120);
    for (int i = 0; i < 60; i++)
        deliver(next());
    slow(next());
    struct pace *p = pace_named("big");
    ck_assert_uint_ge(p->limit.rate, 30);
    ck_assert_uint_le(p->limit.rate, 31);
    sched_rig_wait(r, 60);
    int first = deliver_all(NULL);
    for (int i = 0; i < 40; i++) {
        sched_rig_wait(r, 1);
        first += deliver_all(NULL);
    }
    ck_assert_int_ge(first, 19);
    ck_assert_int_le(first, 23);
}
END_TEST

START_TEST(pauses_of_more_than_a_minute_are_rounds)
{
    add_many("a@one.test", 3);
    slow(next());
    sched_rig_wait(r, 61);
    slow(next()); /* two minutes */
    struct lane_state state =
        lane_state(&r->s, LIST_ENTRY(pace_named("big")->lanes.next, struct lane,
                                     pace.lanes));
    ck_assert_int_eq(state.is, LANE_IS_SHUT);
    sched_rig_wait(r, 110);
    none();
    sched_rig_wait(r, 70);
    next();
}
END_TEST

START_TEST(signs_of_mail_on_its_way_count_once)
{
    add_many("a@one.test", 1);
    add_many("a@two.test", 1);
    struct delivery *a = next(), *b = next();
    slow(a);
    slow(b);
    ck_assert_uint_eq(pace_named("big")->limit.signs, 1);
}
END_TEST

START_TEST(good_minutes_lift_it)
{
    add_many("a@one.test", 10);
    slow(next());
    struct pace *p = pace_named("big");
    uint32_t before = p->limit.rate;
    sched_rig_wait(r, 60);
    for (int i = 0; i < 10 && pace_is_limited(&p->limit); i++) {
        add_many("b@one.test", 5);
        deliver_all(NULL);
        sched_rig_wait(r, 60);
        ck_assert(p->limit.rate == 0 || p->limit.rate > before);
    }
    ck_assert(!pace_is_limited(&p->limit));
    deliver_all(NULL);
    add_many("c@one.test", 50);
    ck_assert_int_eq(deliver_all(NULL), 50);
}
END_TEST

START_TEST(unused_it_stays_and_a_day_forgets_it)
{
    add_many("a@one.test", 1);
    slow(next());
    struct pace *p = pace_named("big");
    for (int i = 0; i < 10; i++)
        sched_rig_wait(r, 120);
    deliver_all(NULL);
    sched_rig_wait(r, 60);
    sched_rig_wait(r, 23 * 3600);
    ck_assert(pace_is_limited(&p->limit));
    sched_rig_wait(r, 3600);
    sched_rig_wait(r, 60);
    ck_assert(!pace_is_limited(&p->limit));
}
END_TEST

START_TEST(a_lane_of_none_has_its_own)
{
    add_many("a@small.test", 2);
    slow(next());
    ck_assert_ptr_nonnull(pace_named("127.0.2.1:25"));
    none();
    add_many("a@one.test", 1);
    deliver(next());
    sched_rig_wait(r, 61);
    ck_assert_str_eq(next()->host, "mx.small");
}
END_TEST

START_TEST(sigusr1_ends_all_of_it)
{
    add_many("a@one.test", 3);
    sign(next(), REFUSAL_BLOCKED, "550 5.7.1 block list (S3150)");
    none();
    lane_state_flush(&r->s);
    pace_flush(&r->s);
    sched_rig_turn(r);
    deliver(next());
    none(); /* at the pace that was learned */
    sched_rig_wait(r, 61);
    deliver(next());
}
END_TEST

/* --- stop -------------------------------------------------------------------- */

START_TEST(a_stop_shuts_the_group_for_an_hour_and_more)
{
    static const unsigned hours[] = { 1, 2, 4, 8, 8 };

    add_many("a@one.test", 9);
    add_many("a@two.test", 9);
    for (size_t i = 0; i < sizeof hours / sizeof hours[0]; i++) {
        struct delivery *a = next(), *b;
        sign(a, REFUSAL_BLOCKED, "550 5.7.1 block list (S3150)");
        while ((b = sched_rig_next(r)) != NULL)
            sched_rig_back(r, b, OUTCOME_DEFERRED, "4.0.0", "later");
        sched_rig_wait(r, hours[i] * 3600 - 5);
        none();
        sched_rig_wait(r, 65);
    }
    ck_assert_uint_eq(sched_rig_pending(r), 18); /* and none was returned */
}
END_TEST

/* Only the domain's own rule, as far as is known. */
static void refused_at_rcpt(struct delivery *j, enum refusal_kind kind)
{
    struct answer a;

    answer_set(&a, OUTCOME_DEFERRED, NULL, "Client host [192.0.2.1] blocked");
    a.status = (struct smtp_status){ 554, 5, 7, 1 };
    a.refusal = (unsigned char)kind;
    for (size_t i = 0; i < j->nrcpt; i++)
        j->rcpt[i].effect = MAIL_ATTEMPT;
    delivery_answer_all(j, &a);
    sched_rig_answered(r, j);
    sched_rig_turn(r);
}

static void blocked_at_rcpt(struct delivery *j)
{
    refused_at_rcpt(j, REFUSAL_BLOCKED);
}

START_TEST(one_domain_that_blocks_us_stops_no_other)
{
    add_many("a@one.test", 3);
    add_many("a@same.test", 3);
    struct delivery *j;
    int others = 0;
    while ((j = sched_rig_next(r)) != NULL) {
        if (strcmp(j->host, "mx.one.big") == 0) {
            blocked_at_rcpt(j);
        } else {
            deliver(j);
            others++;
        }
    }
    ck_assert_int_eq(others, 3);
    ck_assert(!pace_is_limited(&pace_named("big")->limit));
}
END_TEST

START_TEST(two_domains_that_block_us_are_the_provider)
{
    add_many("a@one.test", 1);
    add_many("a@same.test", 1);
    add_many("a@two.test", 1);
    blocked_at_rcpt(next());
    ck_assert_uint_eq(pace_named("big")->limit.stops, 0);
    blocked_at_rcpt(next());
    ck_assert_uint_eq(pace_named("big")->limit.stops, 1);
}
END_TEST

/* A filter in front of hosts passes on that one of them wants less mail. */
START_TEST(two_domains_behind_a_filter_slow_it)
{
    add_many("a@front1.test", 2);
    add_many("a@front2.test", 3);
    struct delivery *given[5];
    for (int i = 0; i < 4; i++)
        given[i] = next();
    refused_at_rcpt(given[0], REFUSAL_RATE);
    refused_at_rcpt(given[1], REFUSAL_SESSIONS);
    struct pace *p = pace_named("mimecast");
    ck_assert(!pace_is_limited(&p->limit) && p->held_until == 0);
    deliver(given[2]);
    refused_at_rcpt(given[3], REFUSAL_RATE);
    ck_assert(!pace_is_limited(&p->limit) && p->held_until == 0);
    given[4] = next();
    add_many("a@front1.test", 1);
    refused_at_rcpt(next(), REFUSAL_RATE);
    ck_assert(pace_is_limited(&p->limit) && p->held_until > 0);
    ck_assert_uint_eq(p->limit.stops, 0);
    deliver(given[4]);
}
END_TEST

/* A rate and a block are not two of a kind. */
START_TEST(one_of_each_is_nothing)
{
    add_many("a@front1.test", 1);
    add_many("a@front2.test", 1);
    refused_at_rcpt(next(), REFUSAL_RATE);
    refused_at_rcpt(next(), REFUSAL_BLOCKED);
    struct pace *p = pace_named("mimecast");
    ck_assert(!pace_is_limited(&p->limit) && p->limit.stops == 0);
}
END_TEST

START_TEST(the_only_domain_of_a_host_is_the_host)
{
    add_many("a@small.test", 2);
    blocked_at_rcpt(next());
    ck_assert_uint_eq(pace_named("127.0.2.1:25")->limit.stops, 1);
}
END_TEST

/* It passes on what a host behind it replied. */
START_TEST(a_next_hop_of_the_settings_is_not_stopped_at_rcpt)
{
    static const char *const relay[] = { "send.relay_host=mx.hub.test", NULL };
    static const struct sched_rig_mx hub[] = {
        { "mx.hub.test", MX_OK, { "mx.hub.test" }, { "127.0.3.1" } }
    };

    close_rig();
    r = sched_rig_open(relay);
    r->mx = hub;
    r->nmx = 1;
    add_many("a@one.test", 1);
    add_many("a@two.test", 1);
    blocked_at_rcpt(next());
    blocked_at_rcpt(next());
    ck_assert_uint_eq(r->s.pace.all.n, 0);
    add_many("a@three.test", 1);
    deliver(next());
}
END_TEST

/* --- sessions ------------------------------------------------------------------ */

/* Three domains, and the provider takes one connection. */
static struct pace *one_session_for_three(struct delivery *given[3])
{
    add_many("a@one.test", 1);
    add_many("a@two.test", 1);
    add_many("a@three.test", 1);
    for (int i = 0; i < 3; i++)
        given[i] = next();
    struct pace *p = pace_named("big");
    ck_assert_uint_eq(p->open, 3);
    sign(given[2], REFUSAL_SESSIONS, "421 4.3.2 too many connections");
    ck_assert_uint_eq(p->limit.sessions, 1);
    ck_assert_uint_eq(p->limit.rate, 0);
    return p;
}

START_TEST(a_limit_of_sessions_is_kept_in_turns)
{
    struct delivery *given[3];
    struct pace *p = one_session_for_three(given);
    struct send_session *s = session_of(given[0]), *t = session_of(given[1]);

    deliver(given[0]);
    deliver(given[1]);
    add_many("b@three.test", 1);
    none();
    end_well(s);
    none(); /* there is another one still */
    end_well(t);
    none(); /* the host may not have seen it yet */
    sched_rig_wait(r, 1);
    struct delivery *j = next();
    ck_assert_str_eq(j->host, "mx.three.big");
    ck_assert_uint_eq(p->open, 1);
    deliver(j);
}
END_TEST

/* Then it is those of others. */
START_TEST(too_many_where_there_is_one_is_a_pause)
{
    add_many("a@one.test", 3);
    sign(next(), REFUSAL_SESSIONS, "421 4.7.0 too many connections");
    struct pace *p = pace_named("big");
    ck_assert(!pace_is_limited(&p->limit));
    none();
    sched_rig_wait(r, 61);
    ck_assert_int_eq(deliver_all(NULL), 2);
    sched_rig_wait(r, 60);
    ck_assert_uint_eq(p->limit.signs, 0);
}
END_TEST

/* A flood for one domain does not keep the others out. */
START_TEST(a_session_gives_way_after_ten_seconds)
{
    struct delivery *given[3], *j;
    struct pace *p = one_session_for_three(given);
    struct send_session *s = session_of(given[0]), *t = session_of(given[1]);

    deliver(given[1]);
    end_well(t);
    deliver(given[0]);
    add_many("b@one.test", 40);
    add_many("b@two.test", 1);
    ck_assert_uint_eq(p->open, 1);
    for (int i = 0; i < 10; i++) {
        deliver(next());
        sched_rig_wait(r, 1);
    }
    sched_rig_wait(r, 1);
    while ((j = sched_rig_next(r)) != NULL)
        deliver(j);
    ck_assert(sched_rig_pending(r) > 20); /* nothing more is given to it */
    ck_assert(lane_is_open(send_session_lane(s)));
    ck_assert(sched_rig_leave(r));
    sched_rig_wait(r, 1);
    ck_assert_str_ne(next()->host, "mx.one.big");
}
END_TEST

START_TEST(a_session_gives_way_after_a_hundred_messages)
{
    struct delivery *given[3];
    struct pace *p = one_session_for_three(given);
    struct send_session *t = session_of(given[1]);

    deliver(given[1]);
    end_well(t);
    deliver(given[0]);
    add_many("b@two.test", 1);
    add_many("b@one.test", 300);
    ck_assert_uint_eq(p->open, 1);
    ck_assert_int_le(deliver_all("mx.one.big"), 101);
}
END_TEST

static void refuse_connection(struct delivery *j)
{
    struct send_session_end e = { .lane = LANE_SHUTS, .unanswered = true };
    struct send_session *s = session_of(j);

    answer_set(&e.why, OUTCOME_DEFERRED, "4.4.1", "Connection refused");
    sched_rig_effect(r, j, MAIL_MOVES_ON, "");
    end(s, e);
}

/* It may be down, and its provider is not. */
START_TEST(refused_connections_count_while_others_are_open)
{
    add_many("a@one.test", 1);
    refuse_connection(next());
    struct pace *p = pace_named("big");
    ck_assert(!pace_is_limited(&p->limit));
    add_many("a@two.test", 1);
    add_many("a@three.test", 1);
    next();
    refuse_connection(next());
    ck_assert_uint_eq(p->limit.sessions, 1);
    ck_assert_uint_eq(p->limit.rate, 0);
}
END_TEST

/* Each in its turn, also where one has a session and much mail. */
START_TEST(lanes_share_a_rate)
{
    int one = 0, two = 0;

    add_many("a@one.test", 2);
    slow(next());
    sched_rig_wait(r, 61);
    struct delivery *j = next();
    deliver(j);
    add_many("b@one.test", 20);
    add_many("b@two.test", 20);
    pace_named("big")->limit = (struct pace_rate){ .rate = 6, .too_much = 600 };
    for (int i = 0; i < 120; i++) {
        sched_rig_wait(r, 1);
        while ((j = sched_rig_next(r)) != NULL) {
            one += strcmp(j->host, "mx.one.big") == 0;
            two += strcmp(j->host, "mx.two.big") == 0;
            deliver(j);
        }
    }
    ck_assert_int_ge(one, 3);
    ck_assert_int_ge(two, 3);
}
END_TEST

/* --- a restart ---------------------------------------------------------------- */

static void restart(void)
{
    pace_save_soon(&r->s);
    pace_close(&r->s);
    memset(&r->s.pace, 0, sizeof r->s.pace);
    list_init(&r->s.pace.known);
    list_init(&r->s.pace.busy);
    r->s.pace.dir_fd = -1;
    ck_assert_int_eq(pace_open(&r->s), 0);
}

/* Nothing uses it: the lanes of the rig go on without. */
static struct pace *make_pace(const char *name)
{
    struct pace *p = pace_get(&r->s, name);

    ck_assert_ptr_nonnull(p);
    p->limit = (struct pace_rate){ 10, 20, 3, 4, 5, 1 };
    p->forget_at = pace_now(p) + 3600 * 1000;
    p->held_until = pace_now(p) + 600 * 1000;
    snprintf(p->why, sizeof p->why, "421 4.7.28 slow down, \"please\"");
    return p;
}

START_TEST(a_restart_keeps_it)
{
    make_pace("big");
    make_pace("127.0.0.1:25")->shut_until =
        pace_now(make_pace("[::1]:25")) + 7200 * 1000;
    restart();
    ck_assert_uint_eq(r->s.pace.all.n, 3);
    struct pace *p = pace_named("big");
    ck_assert_uint_eq(p->limit.rate, 10);
    ck_assert_uint_eq(p->limit.too_much, 20);
    ck_assert_uint_eq(p->limit.sessions, 3);
    ck_assert_uint_eq(p->limit.stops, 1);
    ck_assert(p->group);
    ck_assert_str_eq(p->why, "421 4.7.28 slow down, \"please\"");
    ck_assert_uint_ge(p->held_until, pace_now(p) + 598 * 1000);
    ck_assert_uint_le(p->held_until, pace_now(p) + 602 * 1000);
    ck_assert_uint_eq(p->shut_until, 0);
    p = pace_named("127.0.0.1:25");
    ck_assert(!p->group);
    ck_assert_uint_ge(p->shut_until, pace_now(p) + 7198 * 1000);
}
END_TEST

static void change_file(const char *text, size_t at)
{
    char path[128];

    snprintf(path, sizeof path, "%s/run/pace", r->dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, text, strlen(text), (off_t)at),
                     (ssize_t)strlen(text));
    close(fd);
}

static void load_again(void)
{
    struct list *all = &r->s.pace.known;

    while (!list_empty(all)) { /* as after a start */
        struct pace *p = LIST_ENTRY(all->next, struct pace, known);
        p->forget_at = 0;
        r->s.pace.changed = false;
        pace_close(&r->s);
        memset(&r->s.pace, 0, sizeof r->s.pace);
        list_init(&r->s.pace.known);
        list_init(&r->s.pace.busy);
    }
    r->s.pace.dir_fd = -1;
    map_done(&r->s.pace.all);
    ck_assert_int_eq(pace_open(&r->s), 0);
}

START_TEST(what_is_damaged_is_left_out)
{
    static const struct {
        const char *text;
        size_t at;
    } damage[] = { { "X", 0 }, { "7", 16 }, { "\n", 14 }, { "Z", 40 } };

    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        make_pace("big");
        restart();
        ck_assert_uint_eq(r->s.pace.all.n, 1);
        change_file(damage[i].text, damage[i].at);
        load_again();
        ck_assert_msg(r->s.pace.all.n == 0, "%s at %zu", damage[i].text,
                      damage[i].at);
    }
    make_pace("big"); /* and the next one is whole again */
    restart();
    ck_assert_uint_eq(r->s.pace.all.n, 1);
}
END_TEST

/* More than the longest wait that there is comes from a clock that jumped. */
START_TEST(a_clock_that_jumps_holds_nothing)
{
    struct pace *p = make_pace("big");

    p->held_until = pace_now(p) + 1000ull * 3600 * 24 * 365;
    restart();
    p = pace_named("big");
    ck_assert_uint_le(p->held_until, pace_now(p) + PACE_STOP_MAX * 1000ull);
    p->forget_at = pace_now(p) + 1000ull * 3600 * 24 * 365;
    restart();
    p = pace_named("big");
    ck_assert_uint_le(p->forget_at, pace_now(p) + PACE_FORGET * 1000ull);
}
END_TEST

START_TEST(there_are_not_too_many)
{
    char name[32];

    for (int i = 0; i < PACES_MAX + 100; i++) {
        snprintf(name, sizeof name, "10.0.%d.%d:25", i / 256, i % 256);
        ck_assert_ptr_nonnull(pace_get(&r->s, name));
    }
    ck_assert_uint_eq(r->s.pace.all.n, PACES_MAX);
    ck_assert_ptr_null(pace_named("10.0.0.1:25"));
    ck_assert_ptr_nonnull(pace_named(name));
}
END_TEST

Suite *send_pace_suite(void);
Suite *send_pace_suite(void)
{
    Suite *s = suite_create("send.pace");
    TCase *t = tcase_create("pace");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_test(t, without_a_sign_nothing_waits);
    tcase_add_test(t, a_sign_holds_the_group_and_none_else);
    tcase_add_test(t, a_domain_with_another_host_uses_that);
    tcase_add_test(t, after_the_pause_it_is_half_as_fast);
    tcase_add_test(t, pauses_of_more_than_a_minute_are_rounds);
    tcase_add_test(t, signs_of_mail_on_its_way_count_once);
    tcase_add_test(t, good_minutes_lift_it);
    tcase_add_test(t, unused_it_stays_and_a_day_forgets_it);
    tcase_add_test(t, a_lane_of_none_has_its_own);
    tcase_add_test(t, sigusr1_ends_all_of_it);
    tcase_add_test(t, a_stop_shuts_the_group_for_an_hour_and_more);
    tcase_add_test(t, one_domain_that_blocks_us_stops_no_other);
    tcase_add_test(t, two_domains_that_block_us_are_the_provider);
    tcase_add_test(t, two_domains_behind_a_filter_slow_it);
    tcase_add_test(t, one_of_each_is_nothing);
    tcase_add_test(t, the_only_domain_of_a_host_is_the_host);
    tcase_add_test(t, a_next_hop_of_the_settings_is_not_stopped_at_rcpt);
    tcase_add_test(t, a_limit_of_sessions_is_kept_in_turns);
    tcase_add_test(t, too_many_where_there_is_one_is_a_pause);
    tcase_add_test(t, a_session_gives_way_after_ten_seconds);
    tcase_add_test(t, a_session_gives_way_after_a_hundred_messages);
    tcase_add_test(t, refused_connections_count_while_others_are_open);
    tcase_add_test(t, lanes_share_a_rate);
    tcase_add_test(t, a_restart_keeps_it);
    tcase_add_test(t, what_is_damaged_is_left_out);
    tcase_add_test(t, a_clock_that_jumps_holds_nothing);
    tcase_add_test(t, there_are_not_too_many);
    suite_add_tcase(s, t);
    return s;
}
