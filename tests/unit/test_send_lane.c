/* test_send_lane.c - what a lane's past means for the mail in front of it:
 * shut, on trial, paused; parked mail, suspects, the next MX. */
#include "sched_rig.h"

#include "send/destination_dns.h"
#include "spool/message.h"

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

/* What was given and not looked at comes back untouched. */
static void end(struct send_session *s, struct send_session_end e)
{
    struct delivery *j;

    while ((j = sched_rig_next(r)) != NULL) {
        ck_assert_ptr_eq(session_of(j), s);
        sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
    }
    e.fault = e.lane >= LANE_REOPENS;
    if (e.why.text[0] == '\0')
        answer_set(&e.why, OUTCOME_DEFERRED, "4.4.2", "lost connection");
    sched_rig_end(r, s, &e);
}

/* No connection: the message was not offered. */
static void refuse_connection(struct delivery *j)
{
    struct send_session *s = session_of(j);

    sched_rig_effect(r, j, MAIL_MOVES_ON, "connection refused");
    end(s, (struct send_session_end){ .lane = LANE_SHUTS });
}

/* The same for both deliveries of a new lane's window. */
static void time_out(struct delivery *a, struct delivery *b)
{
    struct send_session *s = session_of(a);

    sched_rig_effect(r, a, MAIL_MOVES_ON, "timed out");
    sched_rig_effect(r, b, MAIL_MOVES_ON, "timed out");
    end(s, (struct send_session_end){ .lane = LANE_SHUTS });
}

/* The peer drops the connection over this message. */
static void drop(struct delivery *j)
{
    struct send_session *s = session_of(j);
    struct msg_id id = j->id;

    sched_rig_effect(r, j, MAIL_SUSPECT, "lost connection");
    end(s, (struct send_session_end){
               .lane = LANE_REOPENS, .lost = true, .lost_id = id });
}

static void refuse_mail(struct delivery *j)
{
    struct send_session *s = session_of(j);
    struct msg_id id = j->id;

    sched_rig_effect(r, j, MAIL_ATTEMPT, "452 4.3.1 no room");
    end(s, (struct send_session_end){ .refused = true, .refused_id = id });
}

static void deliver(struct delivery *j)
{
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
}

static void add(const char *to)
{
    sched_rig_add(r, "s@here.test", to);
}

static void add_many(const char *to, int n)
{
    for (int i = 0; i < n; i++)
        add(to);
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

static void counts(const struct rcpt *x, unsigned attempts, unsigned rounds)
{
    struct spool_slot slot = slot_of(x);

    ck_assert_uint_eq(slot.attempts, attempts);
    ck_assert_uint_eq(slot.rounds, rounds);
}

/* --- shut, and parked ----------------------------------------------------- */

/* The back-off of the mail is hours; the host is away for minutes. */
START_TEST(a_reply_wakes_all_that_is_parked)
{
    add_many("a@one.test", 20);
    add("b@two.test");
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    time_out(a, b);
    none();
    sched_rig_wait(r, 59);
    none();
    sched_rig_wait(r, 1); /* one message tries it */
    refuse_connection(next());
    none();
    sched_rig_wait(r, 119);
    none();
    sched_rig_wait(r, 1);
    struct delivery *j = next();
    none();
    deliver(j);
    for (int i = 0; i < 20; i++)
        deliver(next());
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(r->opened, 3);
}
END_TEST

/* Any reply shows that the host is there. */
START_TEST(a_refusal_ends_the_trial)
{
    add_many("a@one.test", 3);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    time_out(a, b);
    sched_rig_wait(r, 60);
    sched_rig_effect(r, next(), MAIL_BOUNCES, "550 no such user");
    sched_rig_turn(r);
    next();
    next();
}
END_TEST

/* Rounds go by the recipient's own back-off, not by the openings. */
START_TEST(parked_mail_does_its_own_rounds)
{
    add_many("a@one.test", 2);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    struct rcpt *x = a->rcpt[0].rcpt, *y = b->rcpt[0].rcpt;
    time_out(a, b);
    counts(x, 0, 1);
    counts(y, 0, 1);
    ck_assert_str_eq(slot_of(x).reply, "lost connection");
    for (unsigned wait = 60; wait < 500; wait *= 2) {
        sched_rig_wait(r, wait);
        refuse_connection(next());
        none();
    }
    /* 60 + 120 + 240: those that tried have done more */
    unsigned sum = slot_of(x).rounds + slot_of(y).rounds;
    ck_assert_uint_ge(sum, 5);
    ck_assert_uint_le(sum, 7);
    ck_assert_uint_eq(slot_of(x).attempts + slot_of(y).attempts, 0);
}
END_TEST

START_TEST(parked_mail_expires_at_an_opening)
{
    static const char *const settings[] = { "send.queue_lifetime=1h", NULL };

    sched_rig_close(&r);
    r = sched_rig_open(settings);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
    add("a@one.test");
    add("b@one.test");
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    time_out(a, b);
    sched_rig_wait(r, 3600); /* both time-outs count from then on */
    refuse_connection(next());
    sched_rig_turn(r); /* two notices, to here.test */
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(a_trial_is_a_whole_message)
{
    add("a@one.test,b@one.test");
    sched_rig_turn(r);
    refuse_connection(next());
    sched_rig_wait(r, 60);
    ck_assert_uint_eq(next()->nrcpt, 2);
}
END_TEST

/* What lost a session before is no fair trial while there is other mail. */
START_TEST(a_suspect_is_the_last_to_try)
{
    add("poison@one.test");
    sched_rig_turn(r);
    struct delivery *j = next();
    struct msg_id id = j->id;
    drop(j);
    sched_rig_wait(r, 400);
    refuse_connection(next()); /* parked, and the only one */
    add("b@one.test");
    sched_rig_turn(r);
    none();
    sched_rig_wait(r, 60);
    j = next();
    ck_assert_str_eq(j->rcpt[0].address, "b@one.test");
    deliver(j);
    ck_assert(msg_id_eq(next()->id, id));
}
END_TEST

START_TEST(new_mail_for_a_shut_host_does_a_round)
{
    add("a@one.test");
    sched_rig_turn(r);
    refuse_connection(next());
    add("b@one.test");
    sched_rig_turn(r);
    none();
    sched_rig_wait(r, 60);
    struct delivery *j = next();
    none();
    deliver(j);
    j = next();
    counts(j->rcpt[0].rcpt, 0, 1);
    deliver(j);
}
END_TEST

/* While one message tries the first host, all others use the second. */
START_TEST(the_next_rank_works_during_a_trial)
{
    add("a@ranks.test");
    sched_rig_turn(r);
    refuse_connection(next());
    struct delivery *b = next();
    ck_assert_str_eq(b->host, "b.test");
    deliver(b);
    sched_rig_wait(r, 60);
    add_many("a@ranks.test", 3);
    sched_rig_turn(r);
    struct delivery *a = next();
    ck_assert_str_eq(a->host, "a.test");
    deliver(next());
    b = next();
    ck_assert_str_eq(b->host, "b.test");
    deliver(b);
    none();
    deliver(a); /* the trial is over */
    add("a@ranks.test");
    sched_rig_turn(r);
    ck_assert_str_eq(next()->host, "a.test");
}
END_TEST

/* A trial that fails by our own fault waits; the other host works. */
START_TEST(a_trial_that_pauses_keeps_no_mail)
{
    add("a@ranks.test");
    sched_rig_turn(r);
    refuse_connection(next());
    deliver(next());
    sched_rig_wait(r, 60);
    add("a@ranks.test");
    sched_rig_turn(r);
    struct delivery *a = next();
    ck_assert_str_eq(a->host, "a.test");
    struct send_session *s = session_of(a);
    sched_rig_effect(r, a, MAIL_MOVES_ON, "no descriptors");
    end(s, (struct send_session_end){ .lane = LANE_REOPENS, .local = true });
    a = next();
    ck_assert_str_eq(a->host, "b.test");
    deliver(a);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* The hosts file has another address for a next hop whose mail is parked. */
START_TEST(changed_settings_wake_parked_mail)
{
    static const char *const settings[] = { "send.relay_host=hub.test", NULL };
    static const struct sched_rig_mx old[] = {
        { "hub.test", MX_OK, { "hub.test" }, { "192.0.2.1" } },
    };
    static const struct sched_rig_mx moved[] = {
        { "hub.test", MX_OK, { "hub.test" }, { "192.0.2.2" } },
    };

    sched_rig_close(&r);
    r = sched_rig_open(settings);
    r->mx = old;
    r->nmx = 1;
    add("a@one.test");
    sched_rig_turn(r);
    refuse_connection(next());
    none();
    r->mx = moved;
    destination_forget_settings(&r->s);
    sched_rig_turn(r);
    deliver(next());
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* The look-up expires while its mail is parked, and brings another host. */
START_TEST(other_hosts_wake_parked_mail)
{
    static const struct sched_rig_mx moved[] = {
        { "one.test", MX_OK, { "new.one.test" }, { "127.0.1.9" } },
    };

    add_many("a@one.test", 3);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    time_out(a, b);
    none();
    r->mx = moved;
    r->nmx = 1;
    sched_rig_wait(r, 301);
    for (int i = 0; i < 3; i++) {
        a = next();
        ck_assert_str_eq(a->host, "new.one.test");
        deliver(a);
    }
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(a_domain_that_goes_answers_parked_mail)
{
    add_many("a@one.test", 3);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    time_out(a, b);
    r->nmx = 0;
    sched_rig_wait(r, 301);
    sched_rig_turn(r);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(a_flush_wakes_all)
{
    add_many("a@one.test", 2);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    time_out(a, b);
    none();
    lane_state_flush(&r->s);
    sched_rig_turn(r);
    deliver(next());
    deliver(next());
}
END_TEST

/* A destination that rests takes its lanes along, but not what they know. */
START_TEST(a_shut_lane_is_remembered)
{
    add("a@ranks.test");
    sched_rig_turn(r);
    refuse_connection(next());
    deliver(next());
    for (int i = 0; i < 3; i++) { /* 60, 120, 240 s */
        sched_rig_wait(r, 60u << i);
        add("a@ranks.test");
        sched_rig_turn(r);
        refuse_connection(next());
        deliver(next());
    }
    sched_rig_wait(r, 200);
    destination_sweep(&r->s);
    add("a@ranks.test");
    sched_rig_turn(r);
    struct delivery *j = next();
    ck_assert_str_eq(j->host, "b.test");
    deliver(j);
}
END_TEST

/* --- lost sessions --------------------------------------------------------- */

/* Once at once, then 1, 2, 4 ... 60 s; the mail stays in line and does no
 * round. */
START_TEST(reconnects_are_paced)
{
    static const unsigned waits[] = { 0, 1, 2, 4, 8, 16, 32, 60, 60 };

    add("a@one.test");
    add("a@one.test");
    sched_rig_turn(r);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        struct delivery *a = next(), *b = next();
        struct rcpt *x = b->rcpt[0].rcpt;
        struct send_session *s = session_of(a);
        sched_rig_effect(r, a, MAIL_AGAIN, "500 BDAT?");
        sched_rig_effect(r, b, MAIL_UNTOUCHED, "");
        end(s, (struct send_session_end){ .lane = LANE_REOPENS });
        if (waits[i] > 0) {
            none();
            ck_assert(lane_state_any_awaited(&r->s));
            sched_rig_wait(r, waits[i] - 1);
            none();
            sched_rig_wait(r, 1);
        }
        ck_assert_uint_eq(x->tries, 0);
    }
    deliver(next());
    struct send_session *s = session_of(next());
    sched_rig_turn(r);
    end(s, (struct send_session_end){ .lane = LANE_REOPENS, .delivered = 1 });
    ck_assert(!lane_state_any_awaited(&r->s)); /* at once again */
}
END_TEST

START_TEST(untouched_mail_keeps_its_order)
{
    struct msg_id id[2];

    add_many("a@one.test", 6);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    struct send_session *s = session_of(a);
    id[0] = a->id;
    id[1] = b->id;
    sched_rig_effect(r, a, MAIL_UNTOUCHED, "");
    sched_rig_effect(r, b, MAIL_UNTOUCHED, "");
    end(s, (struct send_session_end){ .lane = LANE_LEAVES, .delivered = 7 });
    for (int i = 0; i < 2; i++)
        ck_assert_uint_eq(next()->id.base, id[i].base);
}
END_TEST

/* Three different messages: it is the host.  They keep one attempt each. */
START_TEST(three_lost_messages_shut_the_host)
{
    struct rcpt *x[3];

    add_many("a@one.test", 4);
    sched_rig_turn(r);
    for (int i = 0; i < 3; i++) {
        struct delivery *a = next();
        x[i] = a->rcpt[0].rcpt;
        drop(a);
        sched_rig_wait(r, i < 2 ? 5 : 0);
    }
    none();
    for (int i = 0; i < 3; i++)
        counts(x[i], 1, 0);
    sched_rig_wait(r, 59);
    none();
    sched_rig_wait(r, 1);
    struct delivery *j = next(); /* the fourth: no suspect goes before it */
    counts(j->rcpt[0].rcpt, 0, 1);
    deliver(j);
}
END_TEST

START_TEST(a_session_lost_in_a_trial_shuts_again)
{
    add_many("a@one.test", 3);
    sched_rig_turn(r);
    refuse_connection(next());
    sched_rig_wait(r, 60);
    drop(next());
    none();
    sched_rig_wait(r, 119);
    none();
    sched_rig_wait(r, 1);
    deliver(next());
    deliver(next());
}
END_TEST

START_TEST(one_poison_message_shuts_nothing)
{
    add("poison@one.test");
    sched_rig_turn(r);
    for (int i = 0; i < 5; i++) {
        drop(next());
        sched_rig_wait(r, 6 * 3600);
    }
    struct delivery *j = next();
    ck_assert_uint_eq(j->rcpt[0].rcpt->tries, 5);
    ck_assert(!send_delivery_of(j)->lane->trial);
}
END_TEST

START_TEST(a_delivery_between_clears_the_host)
{
    add_many("a@one.test", 12);
    sched_rig_turn(r);
    for (int i = 0; i < 4; i++) {
        struct delivery *a = next(), *b = next();
        struct send_session *s = session_of(a);
        struct msg_id id = b->id;
        sched_rig_effect(r, a, MAIL_ATTEMPT, "250 ok");
        sched_rig_effect(r, b, MAIL_SUSPECT, "lost connection");
        end(s, (struct send_session_end){ .lane = LANE_REOPENS,
                                          .delivered = 1,
                                          .lost = true,
                                          .lost_id = id });
    }
    next(); /* not shut, not paused */
}
END_TEST

/* --- suspects --------------------------------------------------------------- */

START_TEST(a_suspect_goes_last_and_alone)
{
    add("poison@one.test");
    sched_rig_turn(r);
    struct delivery *p = next();
    struct msg_id id = p->id;
    drop(p);
    for (int i = 0; i < 3; i++)
        add("a@two.test");
    sched_rig_wait(r, 400); /* all are due */
    struct delivery *a = next(), *b = next();
    none();
    ck_assert_str_eq(a->rcpt[0].address, "a@two.test");
    deliver(a);
    deliver(b);
    deliver(next());
    p = next();
    ck_assert_uint_eq(p->id.base, id.base);
    add("a@one.test");
    sched_rig_turn(r);
    none(); /* nothing goes behind it */
    sched_rig_effect(r, p, MAIL_ATTEMPT, "451 4.3.0 not this one");
    sched_rig_turn(r);
    a = next();
    ck_assert_str_eq(a->rcpt[0].address, "a@one.test");
    deliver(a);
}
END_TEST

/* Its other recipient, which is due by a time of its own, is one too. */
START_TEST(a_suspect_is_the_whole_message)
{
    add("p@one.test,q@one.test");
    sched_rig_turn(r);
    struct delivery *p = next();
    struct msg_id id = p->id;
    sched_rig_effect(r, p, MAIL_ATTEMPT, "451 4.3.0 later");
    sched_rig_turn(r);
    for (int i = 0; i < 400; i++) {
        sched_rig_wait(r, 1);
        if ((p = sched_rig_next(r)) != NULL)
            break;
    }
    drop(p); /* one of them, most likely */
    add("a@two.test");
    sched_rig_wait(r, 1200);
    struct delivery *a = next();
    ck_assert(!msg_id_eq(a->id, id));
    none();
    deliver(a);
    ck_assert(msg_id_eq(next()->id, id));
}
END_TEST

/* --- MAIL refused, rates ---------------------------------------------------- */

START_TEST(two_refused_mails_shut_the_host)
{
    add_many("a@one.test", 1);
    sched_rig_turn(r);
    refuse_mail(next());
    add("b@one.test");
    sched_rig_turn(r);
    refuse_mail(next());
    add("c@one.test");
    sched_rig_turn(r);
    none();
    sched_rig_wait(r, 60);
    next();
}
END_TEST

START_TEST(one_refused_mail_shuts_nothing)
{
    add("a@one.test");
    sched_rig_turn(r);
    refuse_mail(next());
    sched_rig_wait(r, 400);
    refuse_mail(next()); /* the same once more */
    add("b@one.test");
    sched_rig_turn(r);
    deliver(next());
}
END_TEST

/* No round, no other hosts: it will take the mail in a minute. */
START_TEST(a_rate_code_pauses_for_a_minute)
{
    add_many("a@ranks.test", 3);
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    struct send_session *s = session_of(a);
    struct rcpt *y = b->rcpt[0].rcpt;
    sched_rig_effect(r, a, MAIL_ATTEMPT, "451 4.7.28 slow down");
    sched_rig_effect(r, b, MAIL_UNTOUCHED, "");
    end(s, (struct send_session_end){ .lane = LANE_SLOWS,
                                      .mail = MAIL_UNTOUCHED });
    none();
    sched_rig_wait(r, 59);
    none();
    sched_rig_wait(r, 1);
    ck_assert_str_eq(next()->host, "a.test");
    ck_assert_uint_eq(y->tries, 0);
}
END_TEST

/* --- the next MX ------------------------------------------------------------ */

START_TEST(a_soft_refusal_goes_to_the_next_mx)
{
    add("a@ranks.test,b@ranks.test");
    sched_rig_turn(r);
    struct delivery *j = next();
    struct rcpt *x = j->rcpt[0].rcpt;
    sched_rig_effect(r, j, MAIL_NEXT_MX, "450 4.2.0 greylisted");
    counts(x, 0, 0); /* the second host has the last word */
    sched_rig_turn(r);
    j = next();
    ck_assert_str_eq(j->host, "b.test");
    ck_assert_uint_eq(j->nrcpt, 2);
    ck_assert_str_eq(j->rcpt[1].address, "b@ranks.test");
    sched_rig_effect(r, j, MAIL_NEXT_MX, "450 4.2.0 here too");
    sched_rig_turn(r);
    none();          /* once */
    counts(x, 1, 0); /* for both */
    ck_assert_str_eq(slot_of(x).reply, "450 4.2.0 here too");
    ck_assert_str_eq(slot_of(x).mx, "b.test");
    sched_rig_wait(r, 400);
    j = next();
    ck_assert_str_eq(j->host, "a.test");
}
END_TEST

/* Mail that nobody put off goes to the best host. */
START_TEST(the_next_mx_gets_no_other_mail)
{
    add_many("a@ranks.test", 6);
    sched_rig_turn(r);
    sched_rig_effect(r, next(), MAIL_NEXT_MX, "450 4.2.0 later");
    sched_rig_turn(r);
    for (int i = 0, put_off = 0; i < 6; i++) {
        struct delivery *j = next();
        put_off += strcmp(j->host, "b.test") == 0;
        ck_assert_int_le(put_off, 1);
        deliver(j);
    }
}
END_TEST

START_TEST(the_next_mx_delivers)
{
    add("a@ranks.test");
    sched_rig_turn(r);
    sched_rig_effect(r, next(), MAIL_NEXT_MX, "450 4.2.0 later");
    sched_rig_turn(r);
    deliver(next());
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(the_first_answer_counts_without_a_second)
{
    add("a@ranks.test");
    sched_rig_turn(r);
    struct delivery *j = next();
    struct rcpt *x = j->rcpt[0].rcpt;
    sched_rig_effect(r, j, MAIL_NEXT_MX, "450 4.2.0 later");
    sched_rig_turn(r);
    refuse_connection(next());
    none();
    counts(x, 1, 0);
    ck_assert_str_eq(slot_of(x).reply, "450 4.2.0 later");
    ck_assert_str_eq(slot_of(x).mx, "a.test");
    sched_rig_wait(r, 200);
    none();
    sched_rig_wait(r, 200);
    ck_assert_str_eq(next()->host, "a.test");
}
END_TEST

/* --- ourselves -------------------------------------------------------------- */

static void greet_with_our_name(struct delivery *j)
{
    struct send_session *s = session_of(j);

    sched_rig_effect(r, j, MAIL_LOOPS, "host greets with our own name");
    end(s, (struct send_session_end){ .lane = LANE_LEAVES, .fault = true });
}

START_TEST(our_own_greeting_drops_equal_and_worse)
{
    static const struct sched_rig_mx three[] = {
        { "ranks.test",
          MX_OK,
          { "a.test", "b.test", "c.test" },
          { "127.0.2.1", "127.0.2.2", "127.0.2.3" } },
    };

    r->mx = three;
    r->nmx = 1;
    add("a@ranks.test");
    sched_rig_turn(r);
    refuse_connection(next());   /* a */
    greet_with_our_name(next()); /* b: so c is dropped too */
    none();
    ck_assert_uint_eq(sched_rig_pending(r), 1);
    sched_rig_wait(r, 60);
    struct delivery *j = next();
    ck_assert_str_eq(j->host, "a.test");
    deliver(j);
}
END_TEST

START_TEST(only_ourselves_bounces)
{
    add("a@one.test");
    sched_rig_turn(r);
    struct rcpt *x;
    struct delivery *j = next();
    x = j->rcpt[0].rcpt;
    greet_with_our_name(j);
    (void)x;
    sched_rig_turn(r); /* the notice goes to here.test, which is nowhere */
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(r->opened, 1);
}
END_TEST

START_TEST(only_ourselves_by_a_setting_waits)
{
    static const char *const settings[] = { "send.relay_host=[192.0.2.1]",
                                            NULL };

    sched_rig_close(&r);
    r = sched_rig_open(settings);
    add("a@one.test");
    sched_rig_turn(r);
    struct delivery *j = next();
    struct rcpt *x = j->rcpt[0].rcpt;
    greet_with_our_name(j);
    none();
    ck_assert_uint_eq(sched_rig_pending(r), 1);
    ck_assert_uint_eq(x->tries, 0);
}
END_TEST

/* A login that our settings lack: the second message is not offered. */
START_TEST(a_missing_login_stops_all_offers)
{
    static const char *const settings[] = { "send.relay_host=[192.0.2.1]",
                                            NULL };

    sched_rig_close(&r);
    r = sched_rig_open(settings);
    for (int i = 0; i < 10; i++)
        add("a@one.test");
    sched_rig_turn(r);
    struct delivery *a = next(), *b = next();
    struct rcpt *x = a->rcpt[0].rcpt;
    sched_rig_effect(r, a, MAIL_WAITS, "530 5.7.0 login first");
    sched_rig_effect(r, b, MAIL_WAITS, "530 5.7.0 login first");
    sched_rig_turn(r);
    none();
    ck_assert_uint_eq(sched_rig_pending(r), 10);
    counts(x, 0, 0);
    sched_rig_wait(r, 400);
    next();
    next();
    none();
}
END_TEST

/* Also when the rest of it stands in front of the others. */
START_TEST(the_rest_of_a_suspect_goes_last)
{
    char to[250 * 16] = "";

    for (int i = 0; i < 250; i++)
        snprintf(to + strlen(to), sizeof to - strlen(to), "%sr%d@one.test",
                 i > 0 ? "," : "", i);
    add(to);
    add("b@two.test");
    sched_rig_turn(r);
    drop(next());
    struct delivery *j = next();
    ck_assert_str_eq(j->host, "mx.two.test");
    deliver(j);
    ck_assert_uint_eq(next()->nrcpt, 100);
    none();
}
END_TEST

/* --- nothing is left behind ------------------------------------------------ */

static void shut(struct send_session *s)
{
    struct send_session_end e = { .lane = LANE_SHUTS, .fault = true };

    answer_set(&e.why, OUTCOME_DEFERRED, "4.4.1", "connection refused");
    sched_rig_end(r, s, &e);
}

/* Both hosts are shut while some wait for room at the second one: the first
 * reply is the attempt of all. */
START_TEST(none_waits_for_a_next_mx_that_is_shut)
{
    struct send_session *a = NULL, *b = NULL;
    struct delivery *j, *at_b[2];
    struct rcpt *x[4];
    int n = 0, nb = 0;

    add_many("a@ranks.test", 4);
    sched_rig_turn(r);
    while ((j = sched_rig_next(r)) != NULL) {
        if (strcmp(j->host, "b.test") == 0) {
            ck_assert_int_lt(nb, 2);
            at_b[nb++] = j;
            continue;
        }
        ck_assert_int_lt(n, 4);
        x[n++] = j->rcpt[0].rcpt;
        a = session_of(j);
        sched_rig_effect(r, j, MAIL_NEXT_MX, "450 4.2.0 later");
        sched_rig_turn(r);
    }
    ck_assert_int_eq(n, 4);
    ck_assert_int_eq(nb, 2);
    shut(a);
    b = session_of(at_b[0]);
    for (int i = 0; i < nb; i++)
        sched_rig_effect(r, at_b[i], MAIL_MOVES_ON, "connection refused");
    shut(b);
    for (int i = 0; i < n; i++) {
        ck_assert_uint_eq(x[i]->state, RCPT_WAITS);
        counts(x[i], 1, 0);
    }
}
END_TEST

/* A recipient that the best host put off has its turn at the second one when
 * the best opens again: the others in line there are not forgotten. */
START_TEST(a_next_mx_forgets_none_behind_it)
{
    struct delivery *j, *at_b[2];
    struct send_session *a = NULL;
    int n = 0, nb = 0;

    add_many("a@ranks.test", 6);
    sched_rig_turn(r);
    while (n < 4) {
        j = next();
        if (strcmp(j->host, "b.test") == 0) {
            ck_assert_int_lt(nb, 2);
            at_b[nb++] = j;
            continue;
        }
        a = session_of(j);
        bool put_off = n++ < 3;
        sched_rig_effect(r, j, put_off ? MAIL_NEXT_MX : MAIL_UNTOUCHED,
                         put_off ? "450 4.2.0 later" : "");
        if (put_off)
            sched_rig_turn(r);
    }
    while ((j = sched_rig_next(r)) != NULL)
        sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
    shut(a);
    sched_rig_wait(r, 61);
    for (int i = 0; i < nb; i++)
        deliver(at_b[i]);
    while ((j = sched_rig_next(r)) != NULL)
        deliver(j);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* One domain's look-up fails when the lane opens, another one's suspect is all
 * the mail that is left. */
START_TEST(a_suspect_does_not_wait_for_parked_mail_that_went)
{
    static const struct sched_rig_mx silent[] = {
        { "one.test", MX_OK, { NULL }, { NULL } },
        { "two.test", MX_OK, { "mx.two.test" }, { "127.0.1.1" } },
    };

    add("b@two.test");
    sched_rig_turn(r);
    struct delivery *j = next();
    struct rcpt *two = j->rcpt[0].rcpt;
    drop(j);
    add("a@one.test");
    sched_rig_turn(r);
    j = next();
    struct rcpt *one = j->rcpt[0].rcpt;
    refuse_connection(j);
    ck_assert_uint_eq(one->state, RCPT_PARKED);
    r->mx = silent;
    r->nmx = 2;
    ((struct destination *)one->place)->expires = 0;
    sched_rig_wait(r, 61);
    sched_rig_time_out(r);
    ck_assert_uint_eq(one->state, RCPT_WAITS);
    ck_assert_uint_eq(two->state, RCPT_WAITS);
    one->when = UINT32_MAX; /* far away */
    sched_rig_wait(r, 240);
    for (int i = 0; i < 3 && two->state == RCPT_WAITS; i++)
        sched_rig_wait(r, 60);
    ck_assert_uint_eq(two->state, RCPT_OUT);
    deliver(next());
}
END_TEST

/* More recipients than a delivery has try the lane, and its disk fails. */
START_TEST(the_rest_of_a_trial_is_not_left_behind)
{
    char to[150 * 16] = "";
    struct delivery *j;
    unsigned tried = 0;

    for (int i = 0; i < 150; i++)
        snprintf(to + strlen(to), sizeof to - strlen(to), "%sr%d@one.test",
                 i > 0 ? "," : "", i);
    add(to);
    sched_rig_turn(r);
    refuse_connection(next());
    sched_rig_wait(r, 60);
    j = next();
    ck_assert_uint_eq(j->nrcpt, 100);
    struct send_session *s = session_of(j);
    sched_rig_effect(r, j, MAIL_WAITS, "message cannot be read");
    sched_rig_end(r, s, &(struct send_session_end){ .lane = LANE_CUTS });
    for (int i = 0; i < 3 && (j = sched_rig_next(r)) != NULL; i++) {
        tried += (unsigned)j->nrcpt;
        deliver(j);
    }
    ck_assert_uint_eq(tried, 50);
}
END_TEST

/* The queue's disk is at fault, and its mail does not wait longer and longer
 * behind what is damaged. */
START_TEST(damage_slows_no_other_mail)
{
    struct delivery *j;

    for (int i = 0; i < 8; i++)
        add("a@one.test");
    for (int i = 0; i < 7; i++) {
        sched_rig_turn(r);
        if (i > 1)
            sched_rig_wait(r, 1);
        j = next();
        struct send_session *s = session_of(j);
        sched_rig_effect(r, j, MAIL_WAITS, "message cannot be read");
        while ((j = sched_rig_next(r)) != NULL)
            sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
        sched_rig_end(r, s, &(struct send_session_end){ .lane = LANE_CUTS });
    }
    sched_rig_wait(r, 1);
    deliver(next());
}
END_TEST

Suite *send_lane_suite(void);
Suite *send_lane_suite(void)
{
    Suite *s = suite_create("send.lane");
    TCase *t = tcase_create("state");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_test(t, a_reply_wakes_all_that_is_parked);
    tcase_add_test(t, a_refusal_ends_the_trial);
    tcase_add_test(t, parked_mail_does_its_own_rounds);
    tcase_add_test(t, parked_mail_expires_at_an_opening);
    tcase_add_test(t, a_trial_is_a_whole_message);
    tcase_add_test(t, a_suspect_is_the_last_to_try);
    tcase_add_test(t, new_mail_for_a_shut_host_does_a_round);
    tcase_add_test(t, the_next_rank_works_during_a_trial);
    tcase_add_test(t, a_trial_that_pauses_keeps_no_mail);
    tcase_add_test(t, changed_settings_wake_parked_mail);
    tcase_add_test(t, other_hosts_wake_parked_mail);
    tcase_add_test(t, a_domain_that_goes_answers_parked_mail);
    tcase_add_test(t, a_flush_wakes_all);
    tcase_add_test(t, a_shut_lane_is_remembered);
    tcase_add_test(t, reconnects_are_paced);
    tcase_add_test(t, untouched_mail_keeps_its_order);
    tcase_add_test(t, three_lost_messages_shut_the_host);
    tcase_add_test(t, a_session_lost_in_a_trial_shuts_again);
    tcase_add_test(t, one_poison_message_shuts_nothing);
    tcase_add_test(t, a_delivery_between_clears_the_host);
    tcase_add_test(t, a_suspect_goes_last_and_alone);
    tcase_add_test(t, a_suspect_is_the_whole_message);
    tcase_add_test(t, two_refused_mails_shut_the_host);
    tcase_add_test(t, one_refused_mail_shuts_nothing);
    tcase_add_test(t, a_rate_code_pauses_for_a_minute);
    tcase_add_test(t, a_soft_refusal_goes_to_the_next_mx);
    tcase_add_test(t, the_next_mx_gets_no_other_mail);
    tcase_add_test(t, the_rest_of_a_suspect_goes_last);
    tcase_add_test(t, a_next_mx_forgets_none_behind_it);
    tcase_add_test(t, none_waits_for_a_next_mx_that_is_shut);
    tcase_add_test(t, a_suspect_does_not_wait_for_parked_mail_that_went);
    tcase_add_test(t, the_rest_of_a_trial_is_not_left_behind);
    tcase_add_test(t, damage_slows_no_other_mail);
    tcase_add_test(t, the_next_mx_delivers);
    tcase_add_test(t, the_first_answer_counts_without_a_second);
    tcase_add_test(t, our_own_greeting_drops_equal_and_worse);
    tcase_add_test(t, only_ourselves_bounces);
    tcase_add_test(t, only_ourselves_by_a_setting_waits);
    tcase_add_test(t, a_missing_login_stops_all_offers);
    suite_add_tcase(s, t);
    return s;
}
