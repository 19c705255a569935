/* test_send_assign.c - which due mail goes to which lane, without sockets or
 * threads. */
#include "sched_rig.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct sched_rig *r;

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
    { "two.test", MX_OK, { "mx.two.test" }, { "127.0.1.1" } },
    { "ranks.test",
      MX_OK,
      { "a.test", "b.test" },
      { "127.0.2.1", "127.0.2.2" } },
    { "silent.test", MX_TEMP, { NULL }, { NULL } },
};

static void open_rig(void)
{
    r = sched_rig_open(NULL);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
}

static void close_rig(void)
{
    sched_rig_close(&r);
}

static struct send_session *session_of(const struct delivery *j)
{
    ck_assert_ptr_nonnull(j);
    const struct send_delivery *d =
        LIST_ENTRY(j, struct send_delivery, delivery);
    ck_assert_ptr_nonnull(d->session);
    return d->session;
}

/* Design promise 4: two domains that share an address share its session. */
START_TEST(one_session_an_address)
{
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_add(r, "s@here.test", "b@two.test");
    sched_rig_turn(r);
    struct delivery *a = sched_rig_next(r), *b = sched_rig_next(r);
    ck_assert_uint_eq(r->opened, 1);
    ck_assert_ptr_eq(session_of(a), session_of(b));
    ck_assert_str_eq(a->host, "mx.one.test"); /* each by its own MX */
    ck_assert_str_eq(b->host, "mx.two.test");
    sched_rig_back(r, a, OUTCOME_DELIVERED, "2.0.0", "ok");
    sched_rig_back(r, b, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(recipients_of_one_message_go_together)
{
    sched_rig_add(r, "s@here.test", "a@one.test,b@two.test,c@one.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    ck_assert_uint_eq(j->nrcpt, 3);
    ck_assert_str_eq(delivery_host(j, &j->rcpt[0]), "mx.one.test");
    ck_assert_str_eq(delivery_host(j, &j->rcpt[1]), "mx.two.test");
    ck_assert_str_eq(delivery_host(j, &j->rcpt[2]), "mx.one.test");
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* It doubles with each round trip that is short. */
START_TEST(the_window_is_refilled)
{
    struct delivery *j[WINDOW_MAX + 1];
    int n = WINDOW_MIN;

    for (int i = 0; i < 4 * WINDOW_MAX; i++)
        sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    for (int trip = 0; trip < 7; trip++) {
        for (int i = 0; i < n; i++)
            ck_assert_ptr_nonnull(j[i] = sched_rig_next(r));
        ck_assert_ptr_null(sched_rig_next(r));
        for (int i = 0; i < n; i++)
            sched_rig_back(r, j[i], OUTCOME_DELIVERED, "2.0.0", "ok");
        n = n * 2 < WINDOW_MAX ? n * 2 : WINDOW_MAX;
    }
    while ((j[0] = sched_rig_next(r)) != NULL)
        sched_rig_back(r, j[0], OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(r->opened, 1);
}
END_TEST

/* A session that delivered nothing pauses the lane: the mail goes to the host
 * of the next preference, and is deferred when none is left. */
START_TEST(the_next_rank_takes_over)
{
    struct send_session_end down = { .lane = LANE_SHUTS, .fault = true };

    answer_set(&down.why, OUTCOME_DEFERRED, "4.4.1", "connection refused");
    sched_rig_add(r, "s@here.test", "a@ranks.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    struct send_session *first = session_of(j);
    ck_assert_str_eq(j->host, "a.test");
    sched_rig_end(r, first, &down);
    sched_rig_back(r, j, OUTCOME_NONE, "4.4.1", "connection refused");
    j = sched_rig_next(r);
    ck_assert_str_eq(j->host, "b.test");
    sched_rig_end(r, session_of(j), &down);
    sched_rig_back(r, j, OUTCOME_NONE, "4.4.1", "connection refused");
    ck_assert_ptr_null(sched_rig_next(r));
    ck_assert_uint_eq(sched_rig_pending(r), 1);
    sched_rig_wait(r, 4 * 3600);
    ck_assert_str_eq(sched_rig_next(r)->host, "a.test");
}
END_TEST

/* A local failure is no attempt, and the lane is tried again after seconds. */
START_TEST(a_local_fault_counts_nothing)
{
    struct send_session_end down = { .lane = LANE_REOPENS,
                                     .fault = true,
                                     .local = true };

    answer_set(&down.why, OUTCOME_DEFERRED, "4.3.0", "no descriptors");
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    struct rcpt *rcpt = j->rcpt[0].rcpt;
    sched_rig_end(r, session_of(j), &down);
    sched_rig_back(r, j, OUTCOME_NONE, "4.3.0", "no descriptors");
    ck_assert_uint_eq(rcpt->tries, 0);
    sched_rig_wait(r, 6);
    ck_assert_ptr_nonnull(sched_rig_next(r));
}
END_TEST

START_TEST(a_deferred_recipient_returns)
{
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    sched_rig_back(r, sched_rig_next(r), OUTCOME_DEFERRED, "4.2.0", "later");
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_wait(r, 60);
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_wait(r, 400);
    sched_rig_back(r, sched_rig_next(r), OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(a_failed_look_up_defers)
{
    sched_rig_add(r, "s@here.test", "a@silent.test");
    sched_rig_turn(r);
    ck_assert_uint_eq(r->asked, 1);
    ck_assert_ptr_null(sched_rig_next(r));
    ck_assert_uint_eq(sched_rig_pending(r), 1);
    sched_rig_wait(r, 400);
    ck_assert_uint_eq(r->asked, 2);
}
END_TEST

/* NXDOMAIN: the recipient fails, and its notice is a message of the queue. */
START_TEST(no_such_domain_bounces)
{
    sched_rig_add(r, "s@one.test", "a@nowhere.test");
    sched_rig_turn(r);
    sched_rig_turn(r); /* the notice is found by the next scan */
    struct delivery *j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(j->sender, "");
    ck_assert_str_eq(j->rcpt[0].address, "s@one.test");
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* A slip in our settings: the mail waits uncounted, and goes when the name is
 * in the DNS. */
START_TEST(a_setting_costs_no_mail)
{
    static const char *const settings[] = { "send.relay_host=hub.test",
                                            "send.queue_lifetime=1h", NULL };
    static const struct sched_rig_mx hub[] = {
        { "hub.test", MX_OK, { "hub.test" }, { "192.0.2.1" } },
    };

    sched_rig_close(&r);
    r = sched_rig_open(settings);
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    ck_assert_uint_eq(r->asked, 1);
    for (int i = 0; i < 10; i++)
        sched_rig_wait(r, 600);
    ck_assert_uint_gt(r->asked, 9);
    ck_assert_ptr_null(sched_rig_next(r));
    ck_assert_uint_eq(sched_rig_pending(r), 1);
    r->mx = hub;
    r->nmx = 1;
    sched_rig_wait(r, 600);
    struct delivery *j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    ck_assert_uint_eq(j->rcpt[0].rcpt->tries, 0);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* RFC 6761 6.3: without a question to the DNS. */
START_TEST(localhost_is_loopback)
{
    static const char *const settings[] = { "send.relay_host=localhost:1025",
                                            NULL };

    sched_rig_close(&r);
    r = sched_rig_open(settings);
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    ck_assert_uint_eq(r->asked, 0);
    ck_assert_ptr_nonnull(j);
    ck_assert(addr_is_loopback(&j->peer));
    ck_assert_uint_eq(addr_port(&j->peer), 1025);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
}
END_TEST

/* One message to many silent zones, then others to healthy ones: these are
 * looked up at once, in the first round and in those after it. */
START_TEST(silent_zones_delay_no_other)
{
    static const struct sched_rig_mx zones[] = {
        { ".dead.test", MX_OK, { NULL }, { NULL } },
        { ".good.test", MX_OK, { "mx.good.test" }, { "192.0.2.1" } },
    };
    static char rcpts[200 * 24];
    char to[40];
    size_t n = 0;

    r->mx = zones;
    r->nmx = 2;
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(rcpts + n, sizeof rcpts - n, "%su@d%d.dead.test",
                              i > 0 ? "," : "", i);
    for (int i = 0; i < 4; i++)
        sched_rig_add(r, "hog@here.test", rcpts);
    sched_rig_turn(r);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 70; i++) {
            snprintf(to, sizeof to, "u@n%d-%d.good.test", round, i);
            sched_rig_add(r, "s@here.test", to);
            sched_rig_turn(r);
            struct delivery *j = sched_rig_next(r);
            ck_assert_msg(j != NULL, "round %d: %s waits", round, to);
            sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
        }
        ck_assert_uint_eq(r->s.destination.lookups.running > 30, 1);
        sched_rig_time_out(r);
        sched_rig_wait(r, 5 * 3600);
    }
}
END_TEST

/* 200 messages of one sender, one silent zone each: another message of the same
 * sender waits for a second at most, and one of another sender not at all. */
START_TEST(a_slow_look_up_gives_way)
{
    static const struct sched_rig_mx zones[] = {
        { ".dead.test", MX_OK, { NULL }, { NULL } },
        { ".good.test", MX_OK, { "mx.good.test" }, { "192.0.2.1" } },
    };
    char to[40];

    r->mx = zones;
    r->nmx = 2;
    for (int i = 0; i < 200; i++) {
        snprintf(to, sizeof to, "u@d%d.dead.test", i);
        sched_rig_add(r, "hog@here.test", to);
    }
    sched_rig_add(r, "hog@here.test", "u@a.good.test");
    sched_rig_turn(r);
    ck_assert_uint_lt(r->asked, LOOKUPS_MAX);
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_add(r, "s@here.test", "u@b.good.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    sched_rig_slow(r, 999);
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_slow(r, 1);
    j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(j->rcpt[0].address, "u@a.good.test");
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 200);
}
END_TEST

/* One that gave way has all its time later, as those that failed have. */
START_TEST(a_slow_look_up_ends)
{
    static const struct sched_rig_mx zones[] = {
        { ".dead.test", MX_OK, { NULL }, { NULL } },
    };
    struct lookup_turns *t = &r->s.destination.lookups;
    char to[40];

    r->mx = zones;
    r->nmx = 1;
    for (int i = 0; i < 500; i++) {
        snprintf(to, sizeof to, "u@d%d.dead.test", i);
        sched_rig_add(r, "hog@here.test", to);
    }
    sched_rig_turn(r);
    for (int i = 0; i < 6; i++)
        sched_rig_slow(r, 1000);
    unsigned asked = r->asked;
    ck_assert_uint_ge(asked, 500);
    ck_assert_uint_ge(t->running, LOOKUPS_MAX / 2);
    sched_rig_slow(r, 100000); /* no other waits for its first second */
    sched_rig_slow(r, 100000);
    ck_assert_uint_eq(r->asked, asked);
    for (int i = 0; i < 8; i++)
        sched_rig_time_out(r);
    ck_assert_uint_eq(t->running, 0);
    ck_assert(list_empty(&t->line));
    ck_assert_uint_eq(sched_rig_pending(r), 500);
}
END_TEST

/* All of them are asked, a share at a time. */
START_TEST(every_silent_zone_is_asked)
{
    static const struct sched_rig_mx zones[] = {
        { ".dead.test", MX_OK, { NULL }, { NULL } },
    };
    static char rcpts[200 * 24];
    size_t n = 0;

    r->mx = zones;
    r->nmx = 1;
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(rcpts + n, sizeof rcpts - n, "%su@d%d.dead.test",
                              i > 0 ? "," : "", i);
    sched_rig_add(r, "hog@here.test", rcpts);
    sched_rig_turn(r);
    ck_assert_uint_lt(r->asked, LOOKUPS_MAX);
    for (int i = 0; i < 6; i++)
        sched_rig_time_out(r);
    ck_assert_uint_eq(r->asked, 200);
    ck_assert_uint_eq(r->s.destination.lookups.running, 0);
    ck_assert_uint_eq(sched_rig_pending(r), 200);
}
END_TEST

Suite *send_assign_suite(void);
Suite *send_assign_suite(void)
{
    Suite *s = suite_create("send.assign");
    TCase *t = tcase_create("lanes");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_test(t, one_session_an_address);
    tcase_add_test(t, recipients_of_one_message_go_together);
    tcase_add_test(t, the_window_is_refilled);
    tcase_add_test(t, the_next_rank_takes_over);
    tcase_add_test(t, a_local_fault_counts_nothing);
    tcase_add_test(t, a_deferred_recipient_returns);
    tcase_add_test(t, a_failed_look_up_defers);
    tcase_add_test(t, no_such_domain_bounces);
    tcase_add_test(t, a_setting_costs_no_mail);
    tcase_add_test(t, localhost_is_loopback);
    tcase_add_test(t, silent_zones_delay_no_other);
    tcase_add_test(t, a_slow_look_up_gives_way);
    tcase_add_test(t, a_slow_look_up_ends);
    tcase_add_test(t, every_silent_zone_is_asked);
    suite_add_tcase(s, t);
    return s;
}
