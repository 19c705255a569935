/* test_base_base64.c - vectors of RFC 4648 10, and what is none. */
#include "base/base64.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define N(table) (int)(sizeof(table) / sizeof((table)[0]))

static const struct {
    const char *octets, *text;
} pairs[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
    { "\377\373\277~", "//u/fg==" },
};

START_TEST(both_ways)
{
    char text[64] = "", octets[64] = "";
    struct buf t = BUF_ON(text), o = BUF_ON(octets);
    struct err e;

    base64_encode(&t, span_of(pairs[_i].octets));
    ck_assert_str_eq(text, pairs[_i].text);
    ck_assert_uint_eq(t.n, BASE64_SIZE(strlen(pairs[_i].octets)));
    ck_assert_int_eq(base64_decode(&o, span_of(pairs[_i].text), &e), 0);
    ck_assert_str_eq(octets, pairs[_i].octets);
}
END_TEST

static const char *const bad[] = {
    "Z",    "Zg",       "Zg=",      "Zg===",    "=Zg=",     "Z===",
    "====", "Zg==Zg==", "Zm8=Zm9v", "Zh==",     "Zm9=",     "Zm 9",
    "Zm9-", "Zm9v\r\n", "Zm9v\n\n", "Zm\3009v", "Zm9vZg=a", "..==",
};

START_TEST(refused)
{
    char octets[64];
    struct buf o = BUF_ON(octets);
    struct err e;

    ck_assert_msg(base64_decode(&o, span_of(bad[_i]), &e) == -1, "'%s'",
                  bad[_i]);
    ck_assert_int_eq(e.kind, ERR_PROTO);
}
END_TEST

START_TEST(nul_is_no_digit)
{
    char octets[64];
    struct buf o = BUF_ON(octets);
    struct err e;

    ck_assert_int_eq(base64_decode(&o, (struct span){ "Zm9\0", 4 }, &e), -1);
}
END_TEST

START_TEST(no_room)
{
    char octets[6], text[8];
    struct buf o = BUF_ON(octets), t = BUF_ON(text);
    struct err e;

    ck_assert_int_eq(base64_decode(&o, span_of("Zm9vYmFy"), &e), -1);
    base64_encode(&t, span_of("foobar"));
    ck_assert(t.full);
}
END_TEST

Suite *base_base64_suite(void);
Suite *base_base64_suite(void)
{
    Suite *s = suite_create("base.base64");
    TCase *t = tcase_create("base64");

    tcase_add_loop_test(t, both_ways, 0, N(pairs));
    tcase_add_loop_test(t, refused, 0, N(bad));
    tcase_add_test(t, nul_is_no_digit);
    tcase_add_test(t, no_room);
    suite_add_tcase(s, t);
    return s;
}
