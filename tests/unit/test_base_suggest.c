/* test_base_suggest.c - how far two words are apart. */
#include "base/suggest.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *a, *b;
    unsigned edits;
} cases[] = {
    { "", "", 0 },
    { "", "abc", 3 },
    { "a", "a", 0 },
    { "a", "b", 1 },
    { "ab", "ba", 1 },
    { "abc", "acb", 1 },
    { "ca", "abc", 3 }, /* a swap is not edited again */
    { "kitten", "sitting", 3 },
    { "serve.prot", "serve.port", 1 },
    { "serve.workers", "send.workers", 3 },
    { "queue_dir", "queue-dir", 1 },
    { "A", "a", 1 },
    { "abcdef", "fedcba", 5 },
};

START_TEST(distance)
{
    unsigned there = edit_distance(cases[_i].a, cases[_i].b);

    ck_assert_msg(there == cases[_i].edits, "%s, %s: %u", cases[_i].a,
                  cases[_i].b, there);
    ck_assert_uint_eq(edit_distance(cases[_i].b, cases[_i].a), there);
}
END_TEST

START_TEST(longest)
{
    char a[65] = "", b[65] = "";

    memset(a, 'a', 63);
    memset(b, 'b', 63);
    ck_assert_uint_eq(edit_distance(a, b), 63);
    ck_assert_uint_eq(edit_distance(a, a), 0);
    ck_assert_uint_eq(edit_distance(a, ""), 63);
    a[63] = 'a';
    ck_assert_uint_gt(edit_distance(a, b), 64);
    ck_assert_uint_gt(edit_distance("", a), 64);
    ck_assert_uint_gt(edit_distance(a, ""), 64);
}
END_TEST

Suite *base_suggest_suite(void);
Suite *base_suggest_suite(void)
{
    Suite *s = suite_create("base.nearest");
    TCase *t = tcase_create("nearest");

    tcase_add_loop_test(t, distance, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, longest);
    suite_add_tcase(s, t);
    return s;
}
