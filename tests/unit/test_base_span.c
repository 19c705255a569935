/* test_base_span.c - pieces of text. */
#include "base/span.h"

#include <check.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    const char *a, *b;
    bool eq, nocase, starts; /* a starts with b, whatever the case */
} pairs[] = {
    { "", "", true, true, true },
    { "a", "", false, false, true },
    { "", "a", false, false, false },
    { "abc", "abc", true, true, true },
    { "abc", "ABC", false, true, true },
    { "abc", "abd", false, false, false },
    { "abc", "ab", false, false, true },
    { "ab", "abc", false, false, false },
    { "FROM:<x>", "from:", false, false, true },
    { "[", "{", false, false, false }, /* one bit apart, as letters are */
    { "@", "`", false, false, false },
    { "\304\201", "\304\200", false, false, false }, /* ASCII only */
};

START_TEST(comparing)
{
    struct span a = span_of(pairs[_i].a), b = span_of(pairs[_i].b);

    ck_assert_msg(span_eq(a, b) == pairs[_i].eq, "%s", pairs[_i].a);
    ck_assert_msg(span_eq(b, a) == pairs[_i].eq, "%s", pairs[_i].a);
    ck_assert_msg(span_is(a, pairs[_i].b) == pairs[_i].eq, "%s", pairs[_i].a);
    ck_assert_msg(span_eq_nocase(a, b) == pairs[_i].nocase, "%s", pairs[_i].a);
    ck_assert_msg(span_eq_nocase(b, a) == pairs[_i].nocase, "%s", pairs[_i].a);
    ck_assert_msg(span_is_nocase(a, pairs[_i].b) == pairs[_i].nocase, "%s",
                  pairs[_i].a);
    ck_assert_msg(span_starts_nocase(a, pairs[_i].b) == pairs[_i].starts, "%s",
                  pairs[_i].a);
}
END_TEST

START_TEST(empty_without_memory)
{
    struct span none = span_of(NULL);
    char out[2] = "x";

    ck_assert(none.p == NULL && none.n == 0);
    ck_assert(span_eq(none, SPAN_LIT("")));
    ck_assert(span_is(none, ""));
    ck_assert_uint_eq(span_find(none, 'x'), 0);
    ck_assert_uint_eq(span_trim(none).n, 0);
    ck_assert(span_copy(out, sizeof out, none));
    ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(nul_is_an_octet)
{
    struct span a = SPAN_LIT("a\0b"), c = SPAN_LIT("a\0c");

    ck_assert_uint_eq(a.n, 3);
    ck_assert(!span_eq(a, c));
    ck_assert(!span_eq_nocase(a, c));
    ck_assert(!span_is(a, "a"));
    ck_assert_uint_eq(span_find(a, '\0'), 1);
    ck_assert_uint_eq(span_find(a, 'b'), 2);
}
END_TEST

static const struct {
    const char *in, *out;
} trims[] = {
    { "", "" },    { " ", "" },    { " \t ", "" },       { "a", "a" },
    { " a", "a" }, { "a\t", "a" }, { "\t a b ", "a b" }, { "\na\r", "\na\r" },
};

START_TEST(trimming)
{
    struct span s = span_trim(span_of(trims[_i].in));

    ck_assert_msg(span_is(s, trims[_i].out), "'%s'", trims[_i].in);
}
END_TEST

static const struct {
    const char *name;
    struct span in;
    size_t size;
    bool ok;
} copies[] = {
    { "fits", { "abc", 3 }, 4, true },
    { "one too long", { "abc", 3 }, 3, false },
    { "empty in one octet", { "", 0 }, 1, true },
    { "no room at all", { "", 0 }, 0, false },
    { "NUL inside", { "a\0b", 3 }, 8, false },
    { "NUL at the end", { "a", 2 }, 8, false },
};

START_TEST(copying)
{
    char out[10] = "#########";
    size_t size = copies[_i].size;

    ck_assert_msg(span_copy(out, size, copies[_i].in) == copies[_i].ok, "%s",
                  copies[_i].name);
    if (size > 0)
        ck_assert_msg(strcmp(out, copies[_i].ok ? copies[_i].in.p : "") == 0,
                      "%s: %s", copies[_i].name, out);
    ck_assert_msg(out[size] == '#', "%s: wrote beyond", copies[_i].name);
}
END_TEST

static const struct {
    const char *in;
    unsigned long long max;
    bool ok;
    unsigned long long value;
} numbers[] = {
    { "0", 0, true, 0 },
    { "1", 0, false, 0 },
    { "007", 10, true, 7 },
    { "10", 10, true, 10 },
    { "11", 10, false, 0 },
    { "9", 5, false, 0 },
    { "18446744073709551615", ~0ull, true, ~0ull },
    { "18446744073709551616", ~0ull, false, 0 },
    { "99999999999999999999", ~0ull, false, 0 },
    { "184467440737095516150", ~0ull, false, 0 },
    { "", 10, false, 0 },
    { "-1", 10, false, 0 },
    { "+1", 10, false, 0 },
    { " 1", 10, false, 0 },
    { "1 ", 10, false, 0 },
    { "1x", 10, false, 0 },
    { "0x1", 10, false, 0 },
};

START_TEST(digits)
{
    unsigned long long v = 4711;
    bool ok = span_u64(span_of(numbers[_i].in), numbers[_i].max, &v);

    ck_assert_msg(ok == numbers[_i].ok, "'%s'", numbers[_i].in);
    ck_assert_msg(v == (ok ? numbers[_i].value : 4711), "'%s': %llu",
                  numbers[_i].in, v);
}
END_TEST

START_TEST(ascii)
{
    for (int i = -128; i < 128; i++) {
        char c = (char)i;
        bool upper = i >= 'A' && i <= 'Z', lower = i >= 'a' && i <= 'z';
        bool digit = i >= '0' && i <= '9';
        ck_assert_msg(ascii_lower(c) == (upper ? (char)(i + 32) : c), "%d", i);
        ck_assert_msg(ascii_is_alpha(c) == (upper || lower), "%d", i);
        ck_assert_msg(ascii_is_digit(c) == digit, "%d", i);
        ck_assert_msg(ascii_is_alnum(c) == (upper || lower || digit), "%d", i);
        ck_assert_msg(ascii_is_control(c) == ((i >= 0 && i < 32) || i == 127),
                      "%d", i);
    }
    char text[] = "MiXed \304 9";
    ascii_lower_str(text);
    ck_assert_str_eq(text, "mixed \304 9");
}
END_TEST

/* Whole words and what is left behind them; no octet beyond the end counts. */
START_TEST(controls)
{
    char text[20];

    for (size_t n = 0; n < sizeof text; n++)
        for (size_t at = 0; at <= n; at++)
            for (int c = 0; c < 256; c++) {
                memset(text, at % 2 == 0 ? 'a' : '\377', sizeof text);
                text[at] = (char)c;
                bool control = at < n && (c < ' ' || c == 0x7f);
                ck_assert_msg(span_has_control((struct span){ text, n }) ==
                                  control,
                              "%d at %zu of %zu", c, at, n);
            }
}
END_TEST

Suite *base_span_suite(void);
Suite *base_span_suite(void)
{
    Suite *s = suite_create("base.span");
    TCase *t = tcase_create("span");

    tcase_add_loop_test(t, comparing, 0, COUNT(pairs));
    tcase_add_test(t, empty_without_memory);
    tcase_add_test(t, nul_is_an_octet);
    tcase_add_loop_test(t, trimming, 0, COUNT(trims));
    tcase_add_loop_test(t, copying, 0, COUNT(copies));
    tcase_add_loop_test(t, digits, 0, COUNT(numbers));
    tcase_add_test(t, ascii);
    tcase_add_test(t, controls);
    suite_add_tcase(s, t);
    return s;
}
