/* test_serve_unknown_users.c - the table of clients that try unknown recipients. */
#include "serve/unknown_users.h"

#include <check.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WINDOW_MS = 10 * 60 * 1000 };

static struct addr client(const char *text)
{
    struct addr a;

    ck_assert(addr_parse_ip(&a, span_of(text), 25));
    return a;
}

static struct unknown_table *table(void)
{
    struct unknown_table *t;
    struct err e;

    ck_assert_int_eq(unknown_new(&t, &e), 0);
    return t;
}

START_TEST(counts)
{
    struct addr a = client("192.0.2.1"), b = client("192.0.2.2");
    struct addr six = client("2001:db8:1:2:3::1"),
                same = client("2001:db8:1:2:ffff::9"),
                other = client("2001:db8:1:3::1");
    struct unknown_table *t = table();

    ck_assert_uint_eq(unknown_count(t, &a, 1000), 1);
    ck_assert_uint_eq(unknown_count(t, &a, 2000), 2);
    ck_assert_uint_eq(unknown_count(t, &b, 2000), 1);
    ck_assert_uint_eq(unknown_count(t, &six, 2000), 1);
    ck_assert_uint_eq(unknown_count(t, &same, 2000), 2);
    ck_assert_uint_eq(unknown_count(t, &other, 2000), 1);
    ck_assert_uint_eq(unknown_count(t, &a, 1000 + WINDOW_MS - 1), 3);
    ck_assert_uint_eq(unknown_count(t, &a, 1000 + WINDOW_MS), 1);
    unknown_free(&t);
    unknown_free(&t);
}
END_TEST

START_TEST(is_shared)
{
    struct addr a = client("192.0.2.1");
    struct unknown_table *t = table();
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit((int)unknown_count(t, &a, 1));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 1);
    ck_assert_uint_eq(unknown_count(t, &a, 2), 2);
    unknown_free(&t);
}
END_TEST

/* A client that has tried often is remembered among thousands that tried
 * once. */
START_TEST(a_crowd_hides_none)
{
    struct addr a = client("192.0.2.1");
    struct unknown_table *t = table();
    char text[40];

    for (unsigned i = 0; i < 30; i++)
        unknown_count(t, &a, 1);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "10.0.%u.%u", i / 250, i % 250);
        struct addr b = client(text);
        unknown_count(t, &b, 2);
    }
    ck_assert_uint_eq(unknown_count(t, &a, 3), 31);
    unknown_free(&t);
}
END_TEST

Suite *serve_unknown_users_suite(void);
Suite *serve_unknown_users_suite(void)
{
    Suite *s = suite_create("serve.unknown");
    TCase *t = tcase_create("table");

    tcase_add_test(t, counts);
    tcase_add_test(t, is_shared);
    tcase_add_test(t, a_crowd_hides_none);
    suite_add_tcase(s, t);
    return s;
}
