/* test_queue_delivery.c - the text of an answer, and what is kept of a long
 * reply. */
#include "queue/delivery.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct delivery *new_delivery(void)
{
    struct delivery *j = calloc(1, sizeof *j);

    ck_assert_ptr_nonnull(j);
    return j;
}

static char text[8192];

/* n times c behind the start. */
static const char *long_text(const char *start, char c, size_t n)
{
    size_t k = strlen(start);

    ck_assert_uint_lt(k + n, sizeof text);
    memcpy(text, start, k);
    memset(text + k, c, n);
    text[k + n] = '\0';
    return text;
}

static const struct {
    const char *reply, *text;
} lines[] = {
    { "one line", "one line" },      { "one\ntwo", "one two" },
    { "one\n\n  two", "one   two" }, { "\n\none\n", "one " },
    { "one \ntwo", "one two" },      { "", "" },
};

START_TEST(an_answer_is_one_line)
{
    struct answer a;

    answer_set_text(&a, lines[_i].reply);
    ck_assert_str_eq(a.text, lines[_i].text);
    answer_set(&a, OUTCOME_FAILED, "5.0.0", "reply: %s", lines[_i].reply);
    ck_assert_ptr_null(strchr(a.text, '\n'));
}
END_TEST

START_TEST(a_short_line_is_not_kept)
{
    struct delivery *j = new_delivery();
    struct answer a;

    delivery_keep_reply(j, "no such user");
    ck_assert_ptr_null(j->replies);
    answer_set_text(&a, long_text("", 'x', DELIVERY_TEXT_MAX - 1));
    delivery_keep_reply(j, text);
    ck_assert_ptr_null(j->replies);
    ck_assert_str_eq(delivery_reply(j, &a), text);
    delivery_free(&j);
}
END_TEST

START_TEST(each_answer_finds_its_reply)
{
    struct delivery *j = new_delivery();
    struct answer two, wide, other;

    answer_set_text(&two, "first\nsecond");
    delivery_keep_reply(j, "first\nsecond");
    delivery_keep_reply(j, long_text("b", 'x', 3000));
    answer_set_text(&wide, text);
    ck_assert_uint_eq(strlen(wide.text), DELIVERY_TEXT_MAX - 1);
    ck_assert_str_eq(wide.text + DELIVERY_TEXT_MAX - 5, "x...");
    ck_assert_str_eq(delivery_reply(j, &wide), text);
    ck_assert_str_eq(delivery_reply(j, &two), "first\nsecond");
    answer_set_text(&other, "lost connection");
    ck_assert_str_eq(delivery_reply(j, &other), "lost connection");
    delivery_free(&j);
}
END_TEST

/* One refusal of 100 recipients is kept once. */
START_TEST(the_same_reply_is_kept_once)
{
    struct delivery *j = new_delivery();
    struct answer a;

    for (int i = 0; i < 100; i++)
        delivery_keep_reply(j, long_text("a\n", 'x', 4000));
    delivery_keep_reply(j, long_text("b\n", 'x', 4000));
    answer_set_text(&a, text);
    ck_assert_str_eq(delivery_reply(j, &a), text);
    delivery_free(&j);
}
END_TEST

START_TEST(two_that_begin_alike)
{
    struct delivery *j = new_delivery();
    struct answer a;

    delivery_keep_reply(j, long_text("", 'x', 1000));
    answer_set_text(&a, text);
    delivery_keep_reply(j, long_text("", 'x', 1001));
    ck_assert_str_eq(delivery_reply(j, &a), a.text);
    delivery_free(&j);
}
END_TEST

START_TEST(no_more_than_the_bound)
{
    struct delivery *j = new_delivery();
    char start[16];
    struct answer a;

    for (int i = 0; i < 20; i++) {
        snprintf(start, sizeof start, "%d\n", i);
        delivery_keep_reply(j, long_text(start, 'x', 4000));
        answer_set_text(&a, text);
        bool kept = i < DELIVERY_REPLIES_MAX / 4010;
        ck_assert_str_eq(delivery_reply(j, &a), kept ? text : a.text);
    }
    delivery_free(&j);
}
END_TEST

Suite *queue_delivery_suite(void);
Suite *queue_delivery_suite(void)
{
    Suite *s = suite_create("queue.delivery");
    TCase *t = tcase_create("replies");

    tcase_add_loop_test(t, an_answer_is_one_line, 0,
                        sizeof lines / sizeof lines[0]);
    tcase_add_test(t, a_short_line_is_not_kept);
    tcase_add_test(t, each_answer_finds_its_reply);
    tcase_add_test(t, the_same_reply_is_kept_once);
    tcase_add_test(t, two_that_begin_alike);
    tcase_add_test(t, no_more_than_the_bound);
    suite_add_tcase(s, t);
    return s;
}
