/* test_base_idn.c - names of domains in their one form. */
#include "base/idn.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define N(table) (int)(sizeof(table) / sizeof((table)[0]))
#define TEN "abcdefghij"
#define SIXTY TEN TEN TEN TEN TEN TEN

/* fault: a part of it; NULL: none, and form is what comes out. */
static const struct {
    const char *name, *form, *fault;
} cases[] = {
    { "example.com", "example.com", NULL },
    { "EXAMPLE.Com.", "example.com", NULL },
    { "localhost", "localhost", NULL },
    { "a-b.c_d.1", "a-b.c_d.1", NULL },
    { "B\303\234CHER.test", "xn--bcher-kva.test", NULL },
    { "XN--bcher-KVA.test", "xn--bcher-kva.test", NULL },
    { SIXTY "abc.test", SIXTY "abc.test", NULL },
    { "", "", "is empty" },
    { ".", "", "empty label" },
    { "a..b", "", "empty label" },
    { ".a", "", "empty label" },
    { "a..", "", "empty label" },
    { SIXTY "abcd.test", "", "more than 63" },
    { SIXTY "." SIXTY "." SIXTY "." SIXTY "." TEN, "", "longer than 253" },
    { SIXTY "." SIXTY "." SIXTY "." SIXTY "." TEN TEN TEN, "",
      "longer than 253" },
    { "-a.test", "", "hyphen" },
    { "a-.test", "", "hyphen" },
    { "a b", "", "a blank" },
    { "a@b", "", "a character" },
    { "a/b", "", "a character" },
    { "[192.0.2.1]", "", "a character" },
    { "\377.test", "", "IDNA" },
    { "\303.test", "", "IDNA" },
};

START_TEST(normal)
{
    char out[IDN_MAX];
    const char *fault = idn_normal(out, span_of(cases[_i].name));

    ck_assert_msg((fault == NULL) == (cases[_i].fault == NULL), "'%s': %s",
                  cases[_i].name, fault != NULL ? fault : "accepted");
    ck_assert_msg(fault == NULL || strstr(fault, cases[_i].fault) != NULL,
                  "'%s': %s", cases[_i].name, fault);
    ck_assert_str_eq(out, cases[_i].form);
}
END_TEST

START_TEST(no_name_has_a_nul)
{
    char out[IDN_MAX];

    ck_assert_ptr_nonnull(idn_normal(out, (struct span){ "a\0b", 3 }));
}
END_TEST

Suite *base_idn_suite(void);
Suite *base_idn_suite(void)
{
    Suite *s = suite_create("base.idn");
    TCase *t = tcase_create("idn");

    tcase_add_loop_test(t, normal, 0, N(cases));
    tcase_add_test(t, no_name_has_a_nul);
    suite_add_tcase(s, t);
    return s;
}
