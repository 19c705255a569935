/* test_log_format.c - events as lines. */
#include "log/format.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define END                                                                    \
    {                                                                          \
        NULL, LOG_END, NULL, 0                                                 \
    }
#define TEXT "2026-01-31T10:00:00.123456Z info a.b"
#define JSON                                                                   \
    "{\"time\":\"2026-01-31T10:00:00.123456Z\",\"level\":\"info\","            \
    "\"event\":\"a.b\""
#define WHEN 1769853600123456ull

/* clang-format off */
static const struct {
    const char *name;
    struct log_field field[4];
    const char *text, *json;
} cases[] = {
    { "no field", { END }, "", "" },
    { "address", { LS("from", "<a@b>"), END },
      " from=<a@b>", ",\"from\":\"<a@b>\"" },
    { "ip", { LS("client", "1.2.3.4"), LS("v6", "[2001:db8::1]:25"), END },
      " client=1.2.3.4 v6=[2001:db8::1]:25",
      ",\"client\":\"1.2.3.4\",\"v6\":\"[2001:db8::1]:25\"" },
    { "numbers", { LN("a", 0), LN("b", -1), LN("c", 9223372036854775807), END },
      " a=0 b=-1 c=9223372036854775807",
      ",\"a\":0,\"b\":-1,\"c\":9223372036854775807" },
    { "least number", { LN("a", -9223372036854775807 - 1), END },
      " a=-9223372036854775808", ",\"a\":-9223372036854775808" },
    { "no string", { LS("a", NULL), LN("b", 1), END },
      " b=1", ",\"b\":1" },
    { "empty string", { LS("a", ""), END }, " a=\"\"", ",\"a\":\"\"" },
    { "blank", { LS("a", "x y"), END }, " a=\"x y\"", ",\"a\":\"x y\"" },
    { "equals sign", { LS("a", "x=y"), END }, " a=\"x=y\"", ",\"a\":\"x=y\"" },
    { "quote and backslash", { LS("a", "\"\\"), END },
      " a=\"\\\"\\\\\"", ",\"a\":\"\\\"\\\\\"" },
    { "forged line", { LS("a", "x\r\n2026 info b.c\t"), END },
      " a=\"x\\r\\n2026 info b.c\\t\"",
      ",\"a\":\"x\\r\\n2026 info b.c\\t\"" },
    { "NUL and escape", { LB("a", "\0\033[2J", 5), END },
      " a=\"\\x00\\x1b[2J\"", ",\"a\":\"\\u0000\\u001b[2J\"" },
    { "delete", { LS("a", "\x7f"), END },
      " a=\"\\x7f\"", ",\"a\":\"\\u007f\"" },
    { "bytes are not read beyond their length", { LB("a", "abc", 2), END },
      " a=ab", ",\"a\":\"ab\"" },
    { "no bytes", { LB("a", "abc", 0), END }, " a=\"\"", ",\"a\":\"\"" },
    { "UTF-8", { LS("a", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xa7"), END },
      " a=\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xa7\"",
      ",\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xa7\"" },
    { "not UTF-8", { LS("a", "x\xff\xc3y\xc0\x80"), END },
      " a=\"x\\xff\\xc3y\\xc0\\x80\"",
      ",\"a\":\"x\\ufffd\\ufffdy\\ufffd\\ufffd\"" },
    { "cut UTF-8", { LB("a", "\xe2\x82\xac", 2), END },
      " a=\"\\xe2\\x82\"", ",\"a\":\"\\ufffd\\ufffd\"" },
    { "NEL", { LS("a", "x\xc2\x85y"), END },
      " a=\"x\\xc2\\x85y\"", ",\"a\":\"x\\u0085y\"" },
    { "line separator", { LS("a", "\xe2\x80\xa8\xe2\x80\xa9"), END },
      " a=\"\\xe2\\x80\\xa8\\xe2\\x80\\xa9\"",
      ",\"a\":\"\\u2028\\u2029\"" },
    { "turned text", { LS("a", "\xe2\x80\xae\xe2\x81\xa6\xd8\x9c"), END },
      " a=\"\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xd8\\x9c\"",
      ",\"a\":\"\\u202e\\u2066\\u061c\"" },
};
/* clang-format on */

static void render(char *out, size_t size, enum log_format f,
                   const struct log_field *fields)
{
    const struct log_event ev = { WHEN, LOG_INFO, "a.b", fields };
    struct buf b;

    buf_init(&b, out, size);
    log_render(&b, f, &ev);
    ck_assert(!b.full);
    ck_assert_uint_eq(b.n, strlen(out));
    ck_assert(strchr(out, '\n') == out + b.n - 1);
}

START_TEST(renders)
{
    char got[LOG_LINE_MAX + 1], want[1024];

    render(got, sizeof got, LOG_TEXT, cases[_i].field);
    snprintf(want, sizeof want, TEXT "%s\n", cases[_i].text);
    ck_assert_msg(strcmp(got, want) == 0, "%s: got %s", cases[_i].name, got);
    render(got, sizeof got, LOG_JSON, cases[_i].field);
    snprintf(want, sizeof want, JSON "%s}\n", cases[_i].json);
    ck_assert_msg(strcmp(got, want) == 0, "%s: got %s", cases[_i].name, got);
}
END_TEST

static const struct {
    const char *name;
    char fill;
    size_t n; /* bytes of the value */
    bool dots, truncated;
} long_cases[] = {
    { "just fits", 'x', LOG_VALUE_MAX, false, false },
    { "one more", 'x', LOG_VALUE_MAX + 1, true, false },
    { "all escaped", '\1', LOG_VALUE_MAX + 1, true, true },
    { "huge", 'y', 1000000, true, false },
};

START_TEST(bounds_lines)
{
    static char value[1000001], line[LOG_LINE_MAX + 1];
    const struct log_field fields[] = { LB("a", value, long_cases[_i].n),
                                        LN("z", 26), END };

    memset(value, long_cases[_i].fill, sizeof value);
    for (int f = LOG_TEXT; f <= LOG_JSON; f++) {
        render(line, sizeof line, (enum log_format)f, fields);
        ck_assert_msg(long_cases[_i].truncated || (strstr(line, "...\"") !=
                                                   NULL) == long_cases[_i].dots,
                      "%s: dots", long_cases[_i].name);
        ck_assert_msg((strstr(line, "truncated") != NULL) ==
                          (long_cases[_i].truncated),
                      "%s: truncated", long_cases[_i].name);
        ck_assert_msg(strstr(line, f == LOG_TEXT ? " z=26" : ",\"z\":26"),
                      "%s: the next field is missing", long_cases[_i].name);
    }
}
END_TEST

/* However little room there is, the line ends and is whole. */
START_TEST(fits_small_room)
{
    char line[LOG_LINE_MIN + 1], value[600];
    const struct log_field fields[] = { LS("a", value), LS("b", "2"), END };

    memset(value, '\n', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (size_t cut = 0; cut < sizeof value; cut += 7) {
        value[cut] = '\0';
        render(line, sizeof line, LOG_JSON, fields);
        ck_assert(strstr(line, "\"b\":\"2\"") != NULL);
        value[cut] = '\n';
    }
}
END_TEST

Suite *log_format_suite(void);
Suite *log_format_suite(void)
{
    Suite *s = suite_create("log.format");
    TCase *t = tcase_create("lines");
    tcase_add_loop_test(t, renders, 0, sizeof cases / sizeof cases[0]);
    tcase_add_loop_test(t, bounds_lines, 0,
                        sizeof long_cases / sizeof long_cases[0]);
    tcase_add_test(t, fits_small_room);
    suite_add_tcase(s, t);
    return s;
}
