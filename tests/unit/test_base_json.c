/* test_base_json.c - strings for programs, and what terminals must not get. */
#include "base/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct {
    const char *name, *in, *out;
} strings[] = {
    { "plain", "a b", "\"a b\"" },
    { "quote and backslash", "\"\\", "\"\\\"\\\\\"" },
    { "C0", "\n\r\t\x1b[31m\x01", "\"\\n\\r\\t\\u001b[31m\\u0001\"" },
    { "DEL", "\x7f", "\"\\u007f\"" },
    { "UTF-8", "\xc3\xa9\xf0\x9f\x93\xa7", "\"\xc3\xa9\xf0\x9f\x93\xa7\"" },
    { "C1: CSI of eight bits", "\xc2\x9b" "31m", "\"\\u009b31m\"" },
    { "not a C1", "\xc2\xa0", "\"\xc2\xa0\"" },
    { "bare octet", "\x9b" "31m", "\"\\ufffd31m\"" },
    { "line ends", "\xc2\x85\xe2\x80\xa8", "\"\\u0085\\u2028\"" },
    { "right to left", "\xe2\x80\xae" "x", "\"\\u202ex\"" },
};
/* clang-format on */

START_TEST(json_strings)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    ck_assert_ptr_nonnull(f);
    json_string(f, span_of(strings[_i].in));
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_msg(strcmp(text, strings[_i].out) == 0, "%s: %s",
                  strings[_i].name, text);
    free(text);
}
END_TEST

Suite *base_json_suite(void);
Suite *base_json_suite(void)
{
    Suite *s = suite_create("base.json");
    TCase *t = tcase_create("json");

    tcase_add_loop_test(t, json_strings, 0, sizeof strings / sizeof strings[0]);
    suite_add_tcase(s, t);
    return s;
}
