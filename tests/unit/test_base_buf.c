/* test_base_buf.c - text in a buffer of known size. */
#include "base/buf.h"

#include <check.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Two additions to a buffer of that size; what does not fit is left out
 * whole, what comes later may still fit. */
static const struct {
    const char *name, *first, *second;
    size_t cap;
    const char *text;
    bool full;
} cases[] = {
    { "room to spare", "abc", "de", 10, "abcde", false },
    { "exactly full", "abc", "de", 6, "abcde", false },
    { "second is one too long", "abc", "de", 5, "abc", true },
    { "first does not fit", "abcdef", "gh", 5, "gh", true },
    { "room for the NUL alone", "a", "", 1, "", true },
    { "nothing into nothing", "", "", 1, "", false },
};

static void with_span(struct buf *b, const char *text)
{
    buf_add_span(b, span_of(text));
}

static void with_format(struct buf *b, const char *text)
{
    buf_addf(b, "%s", text);
}

static void with_chars(struct buf *b, const char *text)
{
    if (strlen(text) >= b->cap - b->n) { /* a single one is all or nothing */
        buf_adds(b, text);
        return;
    }
    for (; *text != '\0'; text++)
        buf_addc(b, *text);
}

static void (*const ways[])(struct buf *b,
                            const char *text) = { buf_adds, with_span,
                                                  with_format, with_chars };

START_TEST(adding)
{
    for (size_t way = 0; way < COUNT(ways); way++) {
        char memory[12] = "###########";
        struct buf b;
        buf_init(&b, memory, cases[_i].cap);
        ways[way](&b, cases[_i].first);
        ways[way](&b, cases[_i].second);
        ck_assert_msg(strcmp(memory, cases[_i].text) == 0, "%s, way %zu: %s",
                      cases[_i].name, way, memory);
        ck_assert_msg(b.full == cases[_i].full, "%s, way %zu", cases[_i].name,
                      way);
        ck_assert_msg(span_is(buf_span(&b), cases[_i].text), "%s, way %zu",
                      cases[_i].name, way);
        ck_assert_msg(memory[cases[_i].cap] == '#', "%s, way %zu: beyond",
                      cases[_i].name, way);
    }
}
END_TEST

START_TEST(on_array)
{
    char memory[8] = "";
    struct buf b = BUF_ON(memory);

    buf_add(&b, "a\0b", 3);
    ck_assert_uint_eq(b.n, 3);
    ck_assert(memcmp(memory, "a\0b", 4) == 0);
    buf_addf(&b, "%04d", 42);
    ck_assert(!b.full);
    ck_assert_uint_eq(b.n, 7);
    buf_add(&b, NULL, 0);
    ck_assert(!b.full);
    buf_addc(&b, 'x');
    ck_assert(b.full);
    ck_assert(memcmp(memory, "a\0b0042", 8) == 0);
}
END_TEST

Suite *base_buf_suite(void);
Suite *base_buf_suite(void)
{
    Suite *s = suite_create("base.buf");
    TCase *t = tcase_create("buf");

    tcase_add_loop_test(t, adding, 0, COUNT(cases));
    tcase_add_test(t, on_array);
    suite_add_tcase(s, t);
    return s;
}
