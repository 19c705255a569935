/* test_base_signals.c - caught signals are counted and end a wait. */
#include "base/signals.h"

#include "base/os.h"

#include <check.h>
#include <errno.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

static const int ours[] = { SIGHUP, SIGTERM };
enum { NOURS = sizeof ours / sizeof ours[0] };

static bool is_ready(int fd)
{
    struct timeval none = { 0, 0 };
    fd_set set;

    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &none) == 1;
}

START_TEST(counts_and_wakes)
{
    struct err e;

    ck_assert_int_eq(signals_catch(ours, NOURS, &e), 0);
    ck_assert(!is_ready(signals_fd()));
    errno = ENOENT;
    raise(SIGHUP);
    raise(SIGHUP);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert(is_ready(signals_fd()));
    os_drain(signals_fd());
    ck_assert(!is_ready(signals_fd()));
    ck_assert_uint_eq(signals_count(SIGHUP), 2);
    ck_assert_uint_eq(signals_take(SIGHUP), 2);
    ck_assert_uint_eq(signals_take(SIGHUP), 0);
    ck_assert_uint_eq(signals_count(SIGTERM), 0);
    signals_forget();
}
END_TEST

/* The pipe has room for some 65,000 octets: a full one blocks nothing. */
START_TEST(never_blocks)
{
    struct err e;

    ck_assert_int_eq(signals_catch(ours, NOURS, &e), 0);
    for (unsigned i = 0; i < 70000; i++)
        raise(SIGHUP);
    ck_assert_uint_eq(signals_take(SIGHUP), 70000);
    signals_forget();
}
END_TEST

static unsigned calls;

static void count_call(void)
{
    calls++;
}

START_TEST(calls_a_function)
{
    struct err e;

    calls = 0;
    ck_assert_int_eq(signals_catch(ours, NOURS, &e), 0);
    signals_call(count_call);
    raise(SIGTERM);
    signals_call(NULL);
    raise(SIGTERM);
    ck_assert_uint_eq(calls, 1);
    ck_assert_uint_eq(signals_take(SIGTERM), 2);
    signals_forget();
}
END_TEST

START_TEST(held_back_until_the_wait)
{
    sigset_t before, wait;
    struct timespec none = { 0, 0 };
    struct err e;

    signals_block(ours, NOURS, &before, &wait);
    ck_assert_int_eq(signals_catch(ours, NOURS, &e), 0);
    raise(SIGTERM);
    ck_assert_uint_eq(signals_count(SIGTERM), 0);
    ck_assert_int_eq(pselect(0, NULL, NULL, NULL, &none, &wait), -1);
    ck_assert_int_eq(errno, EINTR);
    ck_assert_uint_eq(signals_count(SIGTERM), 1);
    sigprocmask(SIG_SETMASK, &before, NULL);
    signals_forget();
}
END_TEST

/* A child has neither the handlers nor the pipe of its parent. */
START_TEST(a_child_begins_anew)
{
    int status;
    struct err e;

    ck_assert_int_eq(signals_catch(ours, NOURS, &e), 0);
    pid_t pid = os_fork();
    if (pid == 0) {
        raise(SIGHUP); /* ignored */
        if (signals_fd() >= 0)
            _exit(1);
        raise(SIGTERM);
        _exit(2);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    ck_assert(!is_ready(signals_fd()));
    signals_forget();
}
END_TEST

Suite *base_signals_suite(void);
Suite *base_signals_suite(void)
{
    Suite *s = suite_create("base.signals");
    TCase *t = tcase_create("signals");

    tcase_add_test(t, counts_and_wakes);
    tcase_add_test(t, never_blocks);
    tcase_add_test(t, calls_a_function);
    tcase_add_test(t, held_back_until_the_wait);
    tcase_add_test(t, a_child_begins_anew);
    suite_add_tcase(s, t);
    return s;
}
