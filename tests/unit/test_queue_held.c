/* test_queue_held.c - mail that waits for a setting of ours: for how long, how
 * it is held, and how it comes back. */
#include "queue/held.h"
#include "sched_rig.h"
#include "send/assign.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MIN = 60, WAITS = 10 };
static const char *const settings[] = { "send.routes=gone.test=hub.test",
                                        "send.retry_min=60s",
                                        "send.retry_max=60s",
                                        "send.queue_lifetime=600s",
                                        "send.warn_after=300s",
                                        NULL };
static const struct sched_rig_mx slip[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
};
static const struct sched_rig_mx right[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
    { "hub.test", MX_OK, { "mx.hub.test" }, { "127.0.1.2" } },
};

static struct sched_rig *r;
static struct message *last; /* found by the scan; one at a time */

static void (*due)(struct queue *q, struct rcpt *rcpt);

static void note_due(struct queue *q, struct rcpt *rcpt)
{
    last = rcpt->msg;
    due(q, rcpt);
}

static void open_rig(void)
{
    static struct queue_owner noting;

    r = sched_rig_open(settings);
    r->mx = slip;
    r->nmx = sizeof slip / sizeof slip[0];
    noting = *r->s.queue.owner;
    due = noting.due;
    noting.due = note_due;
    r->s.queue.owner = &noting;
}

static void close_rig(void)
{
    sched_rig_close(&r);
}

static struct spool_slot slot_of(unsigned i)
{
    struct spool_slot slot;
    struct err e;

    ck_assert_int_eq(
        spool_slot_get(r->s.queue.spool, &last->stored, i, &slot, &e), 0);
    return slot;
}

static void wait_times(int n)
{
    for (int i = 0; i < n; i++)
        sched_rig_wait(r, MIN + 1);
}

static void repair(void)
{
    r->mx = right;
    r->nmx = sizeof right / sizeof right[0];
    held_release(&r->s.queue);
    sched_rig_wait(r, 31); /* the verdict of the last look-up is forgotten */
    sched_rig_wait(r, MIN);
}

static void answer(const char *to, enum outcome o, const char *status)
{
    struct delivery *j = sched_rig_next(r);

    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(j->rcpt[0].address, to);
    sched_rig_back(r, j, o, status, "as played");
}

START_TEST(held_after_a_lifetime)
{
    sched_rig_add(r, "", "a@gone.test");
    sched_rig_turn(r);
    for (int i = 1; i <= WAITS; i++) {
        ck_assert_int_eq(slot_of(0).state, SPOOL_PENDING);
        ck_assert_uint_eq(slot_of(0).waits, (unsigned)i);
        sched_rig_wait(r, MIN + 1);
    }
    struct spool_slot slot = slot_of(0);
    ck_assert_int_eq(slot.state, SPOOL_HELD);
    ck_assert(slot.by_sender);
    ck_assert_uint_eq(slot.attempts + slot.rounds, 0);
    ck_assert_uint_eq(slot.status.subject * 10u + slot.status.detail, 35);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(r->s.queue.held.n, 1);
    unsigned asked = r->asked;
    wait_times(2 * WAITS);
    ck_assert_uint_eq(r->asked, asked); /* it is left alone */
    ck_assert_int_eq(slot_of(0).state, SPOOL_HELD);
}
END_TEST

/* As at a flush or a reload: another lifetime, then held again. */
START_TEST(released_it_waits_anew)
{
    sched_rig_add(r, "", "a@gone.test");
    sched_rig_turn(r);
    wait_times(WAITS);
    ck_assert_uint_eq(r->s.queue.held.n, 1);
    held_release(&r->s.queue);
    ck_assert_int_eq(slot_of(0).state, SPOOL_PENDING);
    ck_assert(!slot_of(0).by_sender);
    ck_assert_uint_eq(r->s.queue.held.n, 0);
    ck_assert_uint_eq(sched_rig_pending(r), 1);
    sched_rig_turn(r);
    wait_times(WAITS - 1);
    ck_assert_uint_eq(r->s.queue.held.n, 0);
    wait_times(1);
    ck_assert_uint_eq(r->s.queue.held.n, 1);
    held_release(&r->s.queue);
    ck_assert_uint_eq(sched_rig_pending(r), 1);
}
END_TEST

/* The message is as young as on the day it came: a host that defers it then
 * does not make it bounce. */
START_TEST(the_wait_does_not_age_it)
{
    sched_rig_add(r, "", "a@gone.test");
    sched_rig_turn(r);
    wait_times(WAITS + 5);
    repair();
    answer("a@gone.test", OUTCOME_DEFERRED, "4.2.0");
    ck_assert_int_eq(slot_of(0).state, SPOOL_PENDING);
    ck_assert_uint_eq(slot_of(0).attempts, 1);
    ck_assert_uint_eq(slot_of(0).waits, 0);
    sched_rig_wait(r, 2 * MIN);
    answer("a@gone.test", OUTCOME_DELIVERED, "2.0.0");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* Of two recipients one waits for a setting: the other one's time is what it
 * was. */
START_TEST(another_recipient_expires)
{
    int tries = 0;

    sched_rig_add(r, "", "a@gone.test,b@one.test");
    sched_rig_turn(r);
    for (struct delivery *j; (j = sched_rig_next(r)) != NULL; tries++) {
        sched_rig_back(r, j, OUTCOME_DEFERRED, "4.2.0", "later");
        sched_rig_wait(r, MIN + MIN / 4 + 2);
    }
    ck_assert_int_ge(tries, 7);
    ck_assert_int_le(tries, WAITS + 2);
    ck_assert_int_eq(slot_of(1).state, SPOOL_FAILED);
    wait_times(WAITS);
    ck_assert_int_eq(slot_of(0).state, SPOOL_HELD);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    repair();
    answer("a@gone.test", OUTCOME_DELIVERED, "2.0.0");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    ck_assert_uint_eq(r->s.queue.held.n, 0);
}
END_TEST

/* It reaches nobody but the sender, once, and ends nothing. */
START_TEST(the_sender_gets_a_notice)
{
    sched_rig_add(r, "s@one.test", "a@gone.test");
    sched_rig_turn(r);
    wait_times(4);
    ck_assert_ptr_null(sched_rig_next(r));
    wait_times(2);
    answer("s@one.test", OUTCOME_DELIVERED, "2.0.0");
    wait_times(WAITS);
    ck_assert_ptr_null(sched_rig_next(r));
    ck_assert_uint_eq(r->s.queue.held.n, 1);
}
END_TEST

static void be_damaged(struct delivery *j)
{
    struct answer *a = &j->rcpt[0].answer;

    answer_set_unreadable(a, EBADMSG);
    a->outcome = OUTCOME_NONE;
    a->misconfigured = true;
    list_remove(&send_delivery_of(j)->note.link);
    assign_take_back(&r->s, j);
    sched_rig_turn(r);
}

/* A message that is damaged on the disk waits as long; at a next hop of the
 * settings too it stops no other. */
START_TEST(damage_is_held_alone)
{
    r->mx = right;
    r->nmx = sizeof right / sizeof right[0];
    sched_rig_add(r, "", "a@gone.test");
    sched_rig_turn(r);
    struct message *damaged = last;
    for (int i = 0; i <= WAITS; i++) {
        be_damaged(sched_rig_next(r));
        sched_rig_add(r, "", "b@gone.test");
        sched_rig_turn(r);
        answer("b@gone.test", OUTCOME_DELIVERED, "2.0.0");
        sched_rig_wait(r, MIN + 1);
    }
    last = damaged;
    ck_assert_int_eq(slot_of(0).state, SPOOL_HELD);
    ck_assert_str_eq(slot_of(0).reply, "message damaged on disk");
    ck_assert_uint_eq(r->s.queue.held.n, 1);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

Suite *queue_held_suite(void);
Suite *queue_held_suite(void)
{
    Suite *s = suite_create("queue.held");
    TCase *t = tcase_create("held");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_test(t, held_after_a_lifetime);
    tcase_add_test(t, released_it_waits_anew);
    tcase_add_test(t, the_wait_does_not_age_it);
    tcase_add_test(t, another_recipient_expires);
    tcase_add_test(t, the_sender_gets_a_notice);
    tcase_add_test(t, damage_is_held_alone);
    suite_add_tcase(s, t);
    return s;
}
