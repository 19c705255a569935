/* test_send_turns.c - turns between the senders of one destination, and the
 * line in front of a host. */
#include "sched_rig.h"

#include "base/pool.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct sched_rig *r;

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
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

static void add(const char *senders)
{
    char from[] = "?@here.test";

    for (; *senders != '\0'; senders++) {
        from[0] = *senders;
        sched_rig_add(r, from, "a@one.test");
    }
}

/* The senders of the deliveries as they leave, each delivered at once. */
static void leave_in_order(const char *senders)
{
    char got[64] = "";
    struct delivery *j;

    for (size_t n = 0; (j = sched_rig_next(r)) != NULL; n++) {
        ck_assert_uint_lt(n, sizeof got - 1);
        got[n] = j->sender[0];
        sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    }
    ck_assert_str_eq(got, senders);
}

START_TEST(senders_take_turns)
{
    add("aaaabbc");
    sched_rig_turn(r);
    leave_in_order("abcabaa");
}
END_TEST

/* A list that writes each recipient into its reverse-path (VERP). */
START_TEST(a_detail_makes_no_other_sender)
{
    sched_rig_add(r, "list+u1=one.test@here.test", "a@one.test");
    sched_rig_add(r, "list+u2=one.test@here.test", "a@one.test");
    sched_rig_add(r, "list@here.test", "a@one.test");
    add("b");
    sched_rig_add(r, "list@there.test", "a@one.test");
    sched_rig_turn(r);
    leave_in_order("lblll");
}
END_TEST

/* A sender whose last letter has just left waits for the others' turns. */
START_TEST(an_empty_group_keeps_its_turn)
{
    add("aabb");
    sched_rig_turn(r);
    struct delivery *a = sched_rig_next(r), *b = sched_rig_next(r);
    add("cab");
    sched_rig_turn(r);
    sched_rig_back(r, a, OUTCOME_DELIVERED, "2.0.0", "ok");
    sched_rig_back(r, b, OUTCOME_DELIVERED, "2.0.0", "ok");
    leave_in_order("abcab");
}
END_TEST

/* What nothing was tried of goes before all else, in its order. */
START_TEST(untouched_mail_goes_first)
{
    add("abcd");
    sched_rig_turn(r);
    struct delivery *a = sched_rig_next(r), *b = sched_rig_next(r);
    ck_assert_ptr_null(sched_rig_next(r)); /* the window */
    sched_rig_end(r, send_delivery_of(a)->session, NULL);
    sched_rig_back(r, a, OUTCOME_NONE, "4.4.2", "the session ended");
    sched_rig_back(r, b, OUTCOME_NONE, "4.4.2", "the session ended");
    leave_in_order("abcd");
}
END_TEST

/* Recipients of one message travel together, due or untouched. */
START_TEST(a_message_is_one_turn)
{
    sched_rig_add(r, "a@here.test", "a@one.test,b@one.test,c@one.test");
    add("ab");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    ck_assert_uint_eq(j->nrcpt, 3);
    sched_rig_back(r, j, OUTCOME_NONE, "4.4.2", "the session ended");
    leave_in_order("baa");
}
END_TEST

/* --- a slow host ---------------------------------------------------------- */

enum { FLOOD = 10000 };

/* Each delivery takes a second: the host works on one, the others wait. */
static char work_a_second(void)
{
    struct delivery *j = sched_rig_next(r);
    char sender = j->sender[0];

    sched_rig_wait(r, 1);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    return sender;
}

START_TEST(a_flood_delays_no_other_sender)
{
    int behind = 0;

    for (int i = 0; i < FLOOD; i++)
        sched_rig_add(r, "a@here.test", "a@one.test");
    sched_rig_turn(r);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(work_a_second(), 'a');
    for (struct list *l = r->given.next; l != &r->given; l = l->next)
        behind++; /* in line at the host */
    ck_assert_int_eq(behind, WINDOW_MIN);
    add("b");
    sched_rig_turn(r);
    while (work_a_second() != 'b')
        ck_assert_int_ge(--behind, -1); /* what was in line, and one more */
    ck_assert_uint_eq(sched_rig_pending(r), FLOOD - 20 - WINDOW_MIN - 1);
}
END_TEST

/* A host that becomes slow: the line is soon a second of its work. */
START_TEST(the_line_becomes_shorter)
{
    for (int i = 0; i < 500; i++)
        sched_rig_add(r, "a@here.test", "a@one.test");
    sched_rig_turn(r);
    for (int i = 0; i < 200; i++)
        sched_rig_back(r, sched_rig_next(r), OUTCOME_DELIVERED, "2.0.0", "ok");
    struct lane *l = send_delivery_of(sched_rig_next(r))->lane;
    ck_assert_uint_eq(l->window.size, WINDOW_MAX);
    for (int i = 0; i < WINDOW_MAX; i++)
        work_a_second();
    ck_assert_uint_eq(l->window.size, WINDOW_MIN);
}
END_TEST

static const struct {
    const char *name;
    unsigned size, longest, line;
    uint64_t ms;
    unsigned after;
} windows[] = {
    { "in time", 2, 2, 1, 0, 3 },
    { "a second is in time", 2, 2, 2, 1000, 3 },
    { "never above the most", WINDOW_MAX, WINDOW_MAX, WINDOW_MAX, 5,
      WINDOW_MAX },
    { "a short line shows nothing of a long one", 10, 5, 4, 5, 10 },
    { "late: a second's work", 20, 20, 20, 2000, 10 },
    { "never below the least", 20, 20, 20, 60000, WINDOW_MIN },
    { "late, but of a longer line", 4, 64, 40, 4000, 4 },
};

START_TEST(window_is_measured)
{
    struct window w = { windows[_i].size, windows[_i].longest };

    window_back(&w, windows[_i].line, windows[_i].ms);
    ck_assert_msg(w.size == windows[_i].after, "%s: %u", windows[_i].name,
                  w.size);
}
END_TEST

/* --- groups --------------------------------------------------------------- */

enum { LETTERS = 70 * 1000 }; /* more than there are groups */

static struct {
    struct due_groups groups;
    struct due due;
    struct message *m;
    struct rcpt *rcpt;
} x;

static void open_groups(void)
{
    ck_assert_int_eq(due_groups_init(&x.groups), 0);
    due_init(&x.due);
    x.m = calloc(LETTERS, sizeof *x.m);
    x.rcpt = calloc(LETTERS, sizeof *x.rcpt);
    ck_assert(x.m != NULL && x.rcpt != NULL);
    for (size_t i = 0; i < LETTERS; i++)
        x.rcpt[i].msg = &x.m[i];
}

static void close_groups(void)
{
    due_groups_done(&x.groups);
    free(x.m);
    free(x.rcpt);
}

static void send_from(size_t i, uint32_t sender)
{
    x.m[i].u.sender = sender;
    due_add(&x.groups, &x.due, &x.rcpt[i]);
}

static size_t leave(void)
{
    struct rcpt *first = due_take_turn(&x.groups, &x.due);

    due_remove(&x.groups, &x.due, first);
    return (size_t)(first - x.rcpt);
}

START_TEST(one_sender_needs_no_memory)
{
    for (size_t i = 0; i < LETTERS; i++)
        send_from(i, 7);
    ck_assert_uint_eq(pool_used(x.groups.pool), 0);
    for (size_t i = 0; i < LETTERS; i++)
        ck_assert_uint_eq(leave(), i);
    ck_assert(due_empty(&x.due));
    send_from(0, 8); /* another one, after it */
    ck_assert_uint_eq(pool_used(x.groups.pool), 0);
    leave();
}
END_TEST

/* Those beyond the last group share one, and none is lost. */
START_TEST(more_senders_than_groups)
{
    bool *seen = calloc(LETTERS, sizeof *seen);

    ck_assert_ptr_nonnull(seen);
    for (size_t i = 0; i < LETTERS; i++)
        send_from(i, (uint32_t)i);
    ck_assert_uint_eq(pool_left(x.groups.pool), 0);
    for (size_t i = 0; i < LETTERS; i++) {
        size_t n = leave();
        ck_assert(!seen[n]);
        seen[n] = true;
    }
    ck_assert(due_empty(&x.due));
    ck_assert_uint_eq(pool_used(x.groups.pool), 0);
    free(seen);
}
END_TEST

/* A group is found again while it is in the line, even when it is empty. */
START_TEST(a_sender_has_one_group)
{
    send_from(0, 1);
    send_from(1, 2);
    send_from(2, 2);
    ck_assert_uint_eq(leave(), 0);
    send_from(3, 2); /* the destination's own group is free, but not for it */
    send_from(4, 3);
    ck_assert_uint_eq(leave(), 1);
    ck_assert_uint_eq(leave(), 4);
    ck_assert_uint_eq(leave(), 2);
    ck_assert_uint_eq(leave(), 3);
    ck_assert_uint_eq(pool_used(x.groups.pool), 0);
}
END_TEST

/* docs/send.md, "Memory". */
START_TEST(a_recipient_is_small)
{
    ck_assert_uint_le(sizeof(struct message) + sizeof(struct rcpt), 192);
}
END_TEST

Suite *send_turns_suite(void);
Suite *send_turns_suite(void)
{
    Suite *s = suite_create("send.turns");
    TCase *t = tcase_create("senders");
    TCase *g = tcase_create("groups");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_test(t, senders_take_turns);
    tcase_add_test(t, a_detail_makes_no_other_sender);
    tcase_add_test(t, an_empty_group_keeps_its_turn);
    tcase_add_test(t, untouched_mail_goes_first);
    tcase_add_test(t, a_message_is_one_turn);
    tcase_add_test(t, a_flood_delays_no_other_sender);
    tcase_add_test(t, the_line_becomes_shorter);
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(g, open_groups, close_groups);
    tcase_add_test(g, one_sender_needs_no_memory);
    tcase_add_test(g, more_senders_than_groups);
    tcase_add_test(g, a_sender_has_one_group);
    tcase_add_test(g, a_recipient_is_small);
    tcase_add_loop_test(g, window_is_measured, 0,
                        sizeof windows / sizeof windows[0]);
    suite_add_tcase(s, g);
    return s;
}
