/* test_base_child.c - children of a master: forked with a pair, paced. */
#include "base/child.h"

#include "base/clock.h"
#include "base/line.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS = 7 };

START_TEST(child_and_parent_have_an_end_each)
{
    struct child c = { 0 };
    char text[LINE_MAX_TEXT];
    int end = -1, fd, status;

    ck_assert(child_is_due(&c, clock_mono_ms()));
    pid_t pid = child_fork(&c, &end, NULL);
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(line_send(end, "here", -1, NULL) == 0 ? STATUS : 1);
    ck_assert_int_eq(c.pid, pid);
    ck_assert(!child_is_due(&c, UINT64_MAX));
    ck_assert_int_eq(child_wait(&c, clock_mono_ms(), -1), -1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), STATUS);
    ck_assert_int_eq(line_receive(end, text, &fd), 1);
    ck_assert_str_eq(text, "here");
    ck_assert_int_eq(line_receive(end, text, &fd), -1); /* no copy is left */
    close(end);
}
END_TEST

START_TEST(a_young_death_is_paced)
{
    struct child c = { .pid = 1, .born = 1000, .start_at = 2000 };

    child_ended(&c);
    ck_assert_int_eq(c.pid, 0);
    ck_assert(!child_is_due(&c, 1200));
    ck_assert_int_eq(child_wait(&c, 1200, -1), 800);
    ck_assert_int_eq(child_wait(&c, 1200, 300), 300);
    ck_assert_int_eq(child_wait(&c, 1200, 900), 800);
    ck_assert(child_is_due(&c, 2000));
    ck_assert_int_eq(child_wait(&c, 5000, 300), 0);
}
END_TEST

START_TEST(a_child_that_is_replaced_waits_less)
{
    struct child c = { .pid = 1, .born = 1000, .start_at = 2000 };

    child_replaced(&c);
    ck_assert_int_eq(c.pid, 0);
    ck_assert(!child_is_due(&c, 1200));
    ck_assert_int_eq(child_wait(&c, 1200, -1), 50);
    ck_assert(child_is_due(&c, 1000 + CHILD_REPLACE_PAUSE_MS));
}
END_TEST

/* (Valgrind keeps the limit itself.) */
START_TEST(without_descriptors_the_next_start_waits)
{
    struct rlimit lim, none;
    struct child c = { 0 };
    struct err e = { ERR_NONE, 0, "" };
    int end;

    if (getenv("TEST_VALGRIND") != NULL)
        return;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
    none = (struct rlimit){ 0, lim.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    pid_t pid = child_fork(&c, &end, &e);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
    ck_assert_int_eq(pid, -1);
    ck_assert_int_eq(e.kind, ERR_TEMP);
    ck_assert_int_eq(c.pid, 0);
    ck_assert(!child_is_due(&c, clock_mono_ms()));
    ck_assert(child_is_due(&c, clock_mono_ms() + CHILD_PAUSE_MS));
}
END_TEST

Suite *base_child_suite(void);
Suite *base_child_suite(void)
{
    Suite *s = suite_create("base.child");
    TCase *t = tcase_create("base.child");

    tcase_add_test(t, child_and_parent_have_an_end_each);
    tcase_add_test(t, a_young_death_is_paced);
    tcase_add_test(t, a_child_that_is_replaced_waits_less);
    tcase_add_test(t, without_descriptors_the_next_start_waits);
    suite_add_tcase(s, t);
    return s;
}
