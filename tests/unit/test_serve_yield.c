/* test_serve_yield.c - how often way is given, by what it cost. */
#include "serve/yield.h"

#include <check.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

enum { CHEAP = WAY_DEAR_US - 1, DEAR = WAY_DEAR_US, COSTS = 8 };

/* What each time cost, and the turns that were left out after it. */
static const struct {
    const char *name;
    unsigned us[COSTS], left[COSTS];
} cases[] = {
    { "nobody in the way",
      { 0, 1, CHEAP, 0, CHEAP, CHEAP, CHEAP, CHEAP },
      { 0, 0, 0, 0, 0, 0, 0, 0 } },
    { "dear once",
      { CHEAP, DEAR, CHEAP, CHEAP, CHEAP, CHEAP, CHEAP, CHEAP },
      { 0, 0, 0, 0, 0, 0, 0, 0 } },
    { "dear again and again",
      { DEAR, DEAR, DEAR, DEAR, DEAR, DEAR, DEAR, DEAR },
      { 0, 32, 72, 128, 200, 288, 392, 512 } },
    { "every other one cheap by chance",
      { DEAR, DEAR, CHEAP, DEAR, CHEAP, DEAR, CHEAP, DEAR },
      { 0, 32, 28, 66, 60, 112, 105, 171 } },
    { "soon forgotten",
      { DEAR, DEAR, CHEAP, CHEAP, CHEAP, CHEAP, CHEAP, CHEAP },
      { 0, 32, 28, 24, 21, 18, 15, 12 } },
};

START_TEST(turns_left_out)
{
    struct way w = { 0, 0 };

    for (size_t i = 0; i < COSTS; i++) {
        unsigned left = 0;
        way_took(&w, cases[_i].us[i]);
        while (!way_is_due(&w))
            left++;
        ck_assert_msg(left == cases[_i].left[i], "%s, %zu: %u", cases[_i].name,
                      i, left);
    }
}
END_TEST

/* Beside somebody who never ends it is tried every now and then, and when he
 * has ended it becomes what it was. */
START_TEST(never_given_up)
{
    struct way w = { 0, 0 };
    unsigned turns = 0;

    for (int i = 0; i < 1000; i++)
        way_took(&w, DEAR);
    while (!way_is_due(&w))
        turns++;
    ck_assert_uint_eq(turns, WAY_SCORE_MOST * WAY_SCORE_MOST / WAY_SCORE);
    for (int i = 0; i < WAY_SCORE_MOST; i++)
        way_took(&w, CHEAP);
    ck_assert(way_is_due(&w));
    ck_assert_uint_eq(w.score, 0);
}
END_TEST

/* The real thing comes back, and is counted. */
START_TEST(comes_back)
{
    struct way w = { WAY_SCORE_MOST, 2 };

    way_give(&w);
    ck_assert_uint_eq(w.left, 1);
    way_give(&w);
    ck_assert_uint_eq(w.left, 0);
    ck_assert_uint_eq(w.score, WAY_SCORE_MOST);
    way_give(&w);
    ck_assert_uint_gt(w.left, 0);
}
END_TEST

/* Turns as they come: h with a handshake, several clients; H the same, one
 * client; m without, many clients; 1 one client; 0 none.  Which begin a
 * rest. */
static const struct {
    const char *name, *turns, *rests;
} rests[] = {
    { "no handshake", "m1m0m1", "      " },
    { "many clients", "hmmmmmmmmm", "rrrrrrrr  " },
    { "again and again", "hmmmhmmmmmmmmm", "rrrrrrrrrrrr  " },
    { "a client after the other", "HHHHHH", "rrr   " },
    { "several again", "HHHHH1m1", "rrr   rr" },
    { "few turns of one client", "h111m", "rrrrr" },
    { "no turn comes to anything", "h0000", "rrrr " },
};

START_TEST(rests_among_handshakes)
{
    struct rest r = { 0, 0 };

    for (size_t i = 0; rests[_i].turns[i] != '\0'; i++) {
        char turn = rests[_i].turns[i];
        unsigned ready = turn == '0' ? 0 : turn == 'h' || turn == 'm' ? 2 : 1;
        bool due = rest_is_due(&r, ready, turn == 'h' || turn == 'H');
        ck_assert_msg(due == (rests[_i].rests[i] == 'r'), "%s, turn %zu",
                      rests[_i].name, i);
    }
}
END_TEST

Suite *serve_yield_suite(void);
Suite *serve_yield_suite(void)
{
    Suite *s = suite_create("base.way");
    TCase *t = tcase_create("way");

    tcase_add_loop_test(t, turns_left_out, 0, COUNT(cases));
    tcase_add_test(t, never_given_up);
    tcase_add_test(t, comes_back);
    tcase_add_loop_test(t, rests_among_handshakes, 0, COUNT(rests));
    suite_add_tcase(s, t);
    return s;
}
