/* test_send_profile.c - how strict TLS is for a destination, and mail of several
 * profiles in front of one lane. */
#include "sched_rig.h"

#include "config/value.h"
#include "queue/retry_queue.h"
#include "send/destination_dns.h"
#include "send/hop_state.h"
#include "send/session_private.h"
#include "send/tls_policy.h"
#include "spool/message.h"

#include <check.h>
#include <string.h>

/* --- the policy ----------------------------------------------------------- */

static const struct {
    const char *name, *rules, *domain, *hop;
    unsigned port;
    enum conf_tls level;
} policies[] = {
    { "no rule", "", "a.test", NULL, 25, CONF_TLS_MAY },
    { "of the domain", "a.test=verify", "a.test", NULL, 25, CONF_TLS_VERIFY },
    { "another case", "A.test=Verify", "a.TEST", NULL, 25, CONF_TLS_VERIFY },
    { "not below it", "a.test=verify", "b.a.test", NULL, 25, CONF_TLS_MAY },
    { "below it", ".a.test=encrypt", "b.a.test", NULL, 25, CONF_TLS_ENCRYPT },
    { "not itself", ".a.test=encrypt", "a.test", NULL, 25, CONF_TLS_MAY },
    { "not another", ".a.test=encrypt", "xa.test", NULL, 25, CONF_TLS_MAY },
    { "the longest", ".test=none,.b.test=verify", "a.b.test", NULL, 25,
      CONF_TLS_VERIFY },
    { "of a next hop", "[h.test]:587=verify", "a.test", "h.test", 587,
      CONF_TLS_VERIFY },
    { "of another port", "[h.test]:587=verify", "a.test", "h.test", 25,
      CONF_TLS_MAY },
    { "without a port", "[h.test]=verify", "a.test", "h.test", 587,
      CONF_TLS_VERIFY },
    { "the port first", "[h.test]=none,[h.test]:587=verify", "a.test", "h.test",
      587, CONF_TLS_VERIFY },
    { "no domain in brackets", "[a.test]=verify", "a.test", NULL, 25,
      CONF_TLS_MAY },
    { "a domain behind a next hop", "a.test=encrypt", "a.test", "h.test", 25,
      CONF_TLS_ENCRYPT },
    { "the hop before the domain", "a.test=verify,[h.test]=encrypt", "a.test",
      "h.test", 25, CONF_TLS_ENCRYPT },
    { "an address", "[192.0.2.1]=encrypt", "[192.0.2.1]", "192.0.2.1", 25,
      CONF_TLS_ENCRYPT },
    { "an address and port", "192.0.2.1:2525=encrypt", "a.test", "192.0.2.1",
      2525, CONF_TLS_ENCRYPT },
};

START_TEST(policy_is)
{
    static struct conf c;
    struct err e;

    c.send.tls = CONF_TLS_MAY;
    ck_assert_msg(conf_set(&c, conf_find(SPAN_LIT("send.tls_policy")),
                           span_of(policies[_i].rules), &e) == 0,
                  "%s", e.text);
    enum conf_tls got = tls_policy_level(
        tls_policy_of_domain(&c, span_of(policies[_i].domain)), CONF_TLS_MAY);
    if (policies[_i].hop != NULL)
        got = tls_policy_level(tls_policy_of_hop(&c, policies[_i].hop,
                                                 (uint16_t)policies[_i].port),
                               got);
    conf_list_free(&c, conf_find(SPAN_LIT("send.tls_policy")));
    ck_assert_msg(got == policies[_i].level, "%s: %s", policies[_i].name,
                  tls_policy_name(got));
}
END_TEST

/* --- profiles of a lane --------------------------------------------------- */

static struct sched_rig *r;

/* Three domains at one host, each with a name of its own for it. */
static const struct sched_rig_mx zone[] = {
    { "may.test", MX_OK, { "mx.may.test" }, { "127.0.1.1" } },
    { "strict.test", MX_OK, { "mx.strict.test" }, { "127.0.1.1" } },
    { "other.test", MX_OK, { "mx.other.test" }, { "127.0.1.1" } },
    { "ranks.test",
      MX_OK,
      { "a.test", "b.test" },
      { "127.0.2.1", "127.0.2.2" } },
};

static void open_rig(void)
{
    static const char *const settings[] = {
        "send.tls_policy=strict.test=verify,other.test=verify,ranks.test="
        "verify",
        NULL
    };

    r = sched_rig_open(settings);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
}

static void close_rig(void)
{
    sched_rig_close(&r);
}

static void add(const char *to, int n)
{
    for (int i = 0; i < n; i++)
        sched_rig_add(r, "s@here.test", to);
}

/* A worker in few words: this is the profile of the session that is open. */
static const char *profile = "";

static bool is_to(const struct delivery *j, const char *domain)
{
    return strstr(j->rcpt[0].address, domain) != NULL;
}

/* Take all that was given: deliver what fits the session, and may.test fits
 * any.  The number that was delivered. */
static unsigned work(unsigned *strict)
{
    struct delivery *j;
    unsigned n = 0;

    while ((j = sched_rig_next(r)) != NULL) {
        if (send_delivery_of(j)->line == 1 && r->opened == 0)
            profile = "";
        if (!is_to(j, "may.test") && !is_to(j, profile)) {
            sched_rig_effect(r, j, MAIL_MISFIT, "");
            sched_rig_turn(r);
            continue;
        }
        *strict += !is_to(j, "may.test");
        sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
        n++;
    }
    return n;
}

/* The session is in clear, and mail that fits it never ends. */
START_TEST(a_misfit_waits_for_a_hundred_messages)
{
    unsigned strict = 0;

    profile = "none";
    add("a@may.test", 400);
    add("b@strict.test", 1);
    sched_rig_turn(r);
    unsigned n = work(&strict);
    ck_assert_uint_ge(n, 100);
    ck_assert_uint_le(n, 100 + 2 * WINDOW_MAX);
    ck_assert_uint_eq(strict, 0);
    profile = "strict.test";
    ck_assert(sched_rig_leave(r));
    struct delivery *first = sched_rig_next(r);
    ck_assert_ptr_nonnull(first);
    ck_assert(is_to(first, "strict.test"));
    sched_rig_back(r, first, OUTCOME_DELIVERED, "2.0.0", "ok");
    (void)work(&strict);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(r->opened, 2);
}
END_TEST

/* Nothing else is there for the session. */
START_TEST(a_misfit_does_not_wait_for_the_linger)
{
    unsigned strict = 0;

    profile = "none";
    add("a@may.test", 1);
    sched_rig_turn(r);
    (void)work(&strict);
    add("b@strict.test", 3);
    sched_rig_turn(r);
    (void)work(&strict);
    ck_assert_uint_eq(r->opened, 1);
    profile = "strict.test";
    ck_assert(sched_rig_leave(r));
    (void)work(&strict);
    ck_assert_uint_eq(strict, 3);
    ck_assert_uint_eq(r->opened, 2);
}
END_TEST

START_TEST(a_misfit_waits_for_ten_seconds)
{
    profile = "none";
    add("a@may.test", 50);
    sched_rig_turn(r);
    struct delivery *slow = sched_rig_next(r);
    add("b@strict.test", 1);
    sched_rig_turn(r);
    struct delivery *j;
    while ((j = sched_rig_next(r)) != NULL && !is_to(j, "strict.test"))
        sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_ptr_nonnull(j);
    sched_rig_effect(r, j, MAIL_MISFIT, "");
    sched_rig_turn(r);
    add("a@may.test", 20);
    sched_rig_wait(r, 11);
    ck_assert(!sched_rig_leave(r)); /* one is in hand */
    sched_rig_back(r, slow, OUTCOME_DELIVERED, "2.0.0", "ok");
    while ((j = sched_rig_next(r)) != NULL)
        sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert(sched_rig_leave(r));
    j = sched_rig_next(r);
    ck_assert(j != NULL && is_to(j, "strict.test"));
}
END_TEST

/* Two profiles with endless mail, and mail that fits both: a session of each in
 * its turn. */
START_TEST(profiles_take_turns)
{
    unsigned done[2] = { 0, 0 };
    unsigned turns = 0;

    profile = "strict.test";
    add("b@strict.test", 500);
    add("c@other.test", 500);
    sched_rig_turn(r);
    while (sched_rig_pending(r) > 0 && turns < 40) {
        int which = strcmp(profile, "strict.test") == 0 ? 0 : 1;
        unsigned strict = 0;
        (void)work(&strict);
        done[which] += strict;
        ck_assert_uint_le(strict, 100 + 2 * WINDOW_MAX);
        if (!sched_rig_leave(r))
            break;
        profile = which == 0 ? "other.test" : "strict.test";
        turns++;
    }
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(done[0], 500);
    ck_assert_uint_eq(done[1], 500);
    ck_assert_uint_ge(turns, 4);
}
END_TEST

/* --- a host that is not what the mail demands ----------------------------- */

static void shut_out(struct delivery *j)
{
    sched_rig_effect(r, j, MAIL_SHUT_OUT, "certificate has expired");
    sched_rig_turn(r);
}

static struct spool_slot slot_of(const struct rcpt *x)
{
    struct spool_slot slot;
    struct err e;

    ck_assert_msg(spool_slot_get(r->s.queue.spool, &x->msg->stored, x->slot,
                                 &slot, &e) == 0,
                  "%s", e.text);
    return slot;
}

START_TEST(another_host_is_tried)
{
    add("x@ranks.test", 2);
    sched_rig_turn(r);
    struct delivery *a = sched_rig_next(r), *b = sched_rig_next(r);
    ck_assert_str_eq(a->host, "a.test");
    shut_out(a);
    shut_out(b);
    for (int i = 0; i < 2; i++) {
        struct delivery *j = sched_rig_next(r);
        ck_assert_ptr_nonnull(j);
        ck_assert_str_eq(j->host, "b.test");
        sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    }
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* No attempt, and the lane serves others in the same session. */
START_TEST(none_left_is_a_round_and_others_go_on)
{
    add("b@strict.test", 2);
    add("a@may.test", 1);
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    const struct rcpt *x = j->rcpt[0].rcpt;
    shut_out(j);
    unsigned delivered = 0;
    while ((j = sched_rig_next(r)) != NULL)
        if (is_to(j, "may.test")) {
            sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
            delivered++;
        } else {
            shut_out(j);
        }
    ck_assert_uint_eq(delivered, 1);
    ck_assert_uint_eq(r->opened, 1);
    ck_assert_uint_eq(sched_rig_pending(r), 2);
    ck_assert_uint_eq(slot_of(x).attempts, 0);
    ck_assert_uint_eq(slot_of(x).rounds, 1);
    ck_assert_str_eq(slot_of(x).reply, "certificate has expired");
    sched_rig_wait(r, 58);
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_wait(r, 2);
    j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    shut_out(j);
    while ((j = sched_rig_next(r)) != NULL)
        shut_out(j);
    sched_rig_wait(r, 118); /* twice as long */
    ck_assert_ptr_null(sched_rig_next(r));
    sched_rig_wait(r, 2);
    j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(a_flush_opens_it)
{
    add("b@strict.test", 1);
    sched_rig_turn(r);
    shut_out(sched_rig_next(r));
    ck_assert_ptr_null(sched_rig_next(r));
    destination_flush(&r->s);
    sched_rig_turn(r);
    ck_assert_ptr_nonnull(sched_rig_next(r));
}
END_TEST

static void deliver_one(void)
{
    struct delivery *j = sched_rig_next(r);

    ck_assert_ptr_nonnull(j);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
}

/* TLS did not work, and the session in clear that follows never rests: it ends
 * when TLS is to be tried again, with mail on its way or without. */
START_TEST(clear_text_ends_after_an_hour)
{
    struct send_session_end failed = { .lane = LANE_LEAVES,
                                       .learned = { .no_tls = true } };

    add("a@may.test", 4);
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    struct send_session *first = send_delivery_of(j)->session;
    ck_assert(first->tls.wanted);
    sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
    j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
    sched_rig_end(r, first, &failed);
    ck_assert_uint_eq(r->opened, 2);
    deliver_one();
    sched_rig_wait(r, 3500);
    deliver_one();
    if (_i == 1) { /* the others come when it rests */
        deliver_one();
        deliver_one();
    }
    ck_assert(list_empty(&r->leaving));
    sched_rig_wait(r, 200);
    if (_i == 1)
        add("a@may.test", 2);
    else
        for (int i = 0; i < 2; i++)
            deliver_one();
    sched_rig_turn(r);
    ck_assert(!list_empty(&r->leaving) && list_empty(&r->given));
    ck_assert(sched_rig_leave(r));
    add("a@may.test", 1);
    sched_rig_turn(r);
    ck_assert_uint_eq(r->opened, 3);
    j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    ck_assert(send_delivery_of(j)->session->tls.wanted);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
}
END_TEST

Suite *send_profile_suite(void);
Suite *send_profile_suite(void)
{
    Suite *s = suite_create("send.profile");
    TCase *p = tcase_create("policy"), *t = tcase_create("lanes");

    tcase_add_loop_test(p, policy_is, 0, sizeof policies / sizeof policies[0]);
    suite_add_tcase(s, p);
    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_misfit_waits_for_a_hundred_messages);
    tcase_add_test(t, a_misfit_does_not_wait_for_the_linger);
    tcase_add_test(t, a_misfit_waits_for_ten_seconds);
    tcase_add_test(t, profiles_take_turns);
    tcase_add_loop_test(t, clear_text_ends_after_an_hour, 0, 2);
    tcase_add_test(t, another_host_is_tried);
    tcase_add_test(t, none_left_is_a_round_and_others_go_on);
    tcase_add_test(t, a_flush_opens_it);
    suite_add_tcase(s, t);
    return s;
}
