/* test_base_msg_id.c - names of messages and sessions. */
#include "base/clock.h"
#include "base/msg_id.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const uint64_t BASE_MAX = 0xfffffffffffffffu;

/* In rising order. */
static const struct {
    struct msg_id id;
    const char *text;
} ids[] = {
    { { 0, 0 }, "0000000000000000" },
    { { 0, 1 }, "0000000000000001" },
    { { 0, 31 }, "000000000000000z" },
    { { 0, 32 }, "0000000000000010" },
    { { 0, MSG_ID_N_MAX }, "000000000000zzzz" },
    { { 1, 0 }, "0000000000010000" },
    { { 1, 18 }, "000000000001000j" },
    { { 0x123456789abcdefu, 5 }, "28t5cy4tqkff0005" },
    { { BASE_MAX >> 1, 0 }, "fzzzzzzzzzzz0000" },
    { { BASE_MAX, MSG_ID_N_MAX }, "zzzzzzzzzzzzzzzz" },
};

START_TEST(text_and_back)
{
    char text[MSG_ID_TEXT], base_text[MSG_ID_BASE_TEXT];
    struct msg_id back;
    uint64_t base;

    msg_id_text(text, ids[_i].id);
    ck_assert_str_eq(text, ids[_i].text);
    ck_assert(msg_id_parse(&back, span_of(text)));
    ck_assert(msg_id_eq(back, ids[_i].id));
    msg_id_base_text(base_text, ids[_i].id.base);
    ck_assert(strncmp(base_text, text, 12) == 0 && strlen(base_text) == 12);
    ck_assert(msg_id_base_parse(&base, span_of(base_text)));
    ck_assert(base == ids[_i].id.base);
    for (char *p = text; *p != '\0'; p++) /* people write capitals */
        *p = *p >= 'a' ? (char)(*p - 32) : *p;
    ck_assert(msg_id_parse(&back, span_of(text)));
    ck_assert(msg_id_eq(back, ids[_i].id));
}
END_TEST

START_TEST(order)
{
    for (int k = 0; k < (int)COUNT(ids); k++) {
        int text = strcmp(ids[_i].text, ids[k].text);
        ck_assert_int_eq(text < 0 ? -1 : text > 0, _i < k ? -1 : _i > k);
        ck_assert(msg_id_eq(ids[_i].id, ids[k].id) == (_i == k));
    }
}
END_TEST

static const struct {
    const char *name;
    struct span text;
} bad[] = {
    { "empty", { "", 0 } },
    { "short", { "000000000000000", 15 } },
    { "long", { "00000000000000000", 17 } },
    { "i", { "000000000000000i", 16 } },
    { "l", { "l000000000000000", 16 } },
    { "o", { "0000000o00000000", 16 } },
    { "u", { "00000000000u0000", 16 } },
    { "NUL", { "0000000\00000000000", 16 } },
    { "sign", { "-000000000000000", 16 } },
    { "blank", { " 000000000000000", 16 } },
    { "slash", { "../0000000000000", 16 } },
    { "UTF-8", { "\303\2660000000000000000", 16 } },
};

START_TEST(refused)
{
    struct msg_id id;
    uint64_t base;

    ck_assert_msg(!msg_id_parse(&id, bad[_i].text), "%s", bad[_i].name);
    ck_assert_msg(!msg_id_base_parse(&base, bad[_i].text), "%s", bad[_i].name);
}
END_TEST

START_TEST(new_base_is_the_clock)
{
    uint64_t before = clock_wall_us(), base = msg_id_new_base();
    uint64_t after = clock_wall_us();

    ck_assert(base <= BASE_MAX);
    ck_assert(base >> 8 >= before && base >> 8 <= after);
    bool differ = false; /* the chance in it */
    for (int i = 0; i < 100; i++)
        differ = differ || (msg_id_new_base() & 0xff) != (base & 0xff);
    ck_assert(differ);
}
END_TEST

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

START_TEST(sessions_differ)
{
    enum { MANY = 20000 };
    static char all[MANY][SESSION_ID_TEXT];

    for (int i = 0; i < MANY; i++) {
        session_id_new(all[i]);
        ck_assert_uint_eq(strspn(all[i], "0123456789abcdefghjkmnpqrstvwxyz"),
                          SESSION_ID_TEXT - 1);
    }
    qsort(all, MANY, sizeof all[0], by_text);
    for (int i = 1; i < MANY; i++)
        ck_assert_str_ne(all[i - 1], all[i]);
}
END_TEST

/* Random octets fetched before a fork must not be used on both sides. */
START_TEST(sessions_differ_after_fork)
{
    char ours[SESSION_ID_TEXT], theirs[SESSION_ID_TEXT];
    int end[2], status;

    session_id_new(ours); /* a batch is there now */
    ck_assert_int_eq(pipe(end), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        session_id_new(theirs);
        _exit(write(end[1], theirs, sizeof theirs) != sizeof theirs);
    }
    session_id_new(ours);
    ck_assert_int_eq(read(end[0], theirs, sizeof theirs), sizeof theirs);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_str_ne(ours, theirs);
    close(end[0]);
    close(end[1]);
}
END_TEST

Suite *base_msg_id_suite(void);
Suite *base_msg_id_suite(void)
{
    Suite *s = suite_create("base.ids");
    TCase *t = tcase_create("ids");

    tcase_add_loop_test(t, text_and_back, 0, COUNT(ids));
    tcase_add_loop_test(t, order, 0, COUNT(ids));
    tcase_add_loop_test(t, refused, 0, COUNT(bad));
    tcase_add_test(t, new_base_is_the_clock);
    tcase_add_test(t, sessions_differ);
    tcase_add_test(t, sessions_differ_after_fork);
    suite_add_tcase(s, t);
    return s;
}
