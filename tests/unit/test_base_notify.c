/* test_base_notify.c - datagrams to a manager of services. */
#include "base/notify.h"

#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager;
static char dir[] = "/tmp/mta-notify-XXXXXX", name[64];

/* Listen where $NOTIFY_SOCKET says; '@' stands for the zero. */
static void listen_at(const char *at)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = strlen(at);

    memcpy(to.sun_path, at, n);
    if (at[0] == '@')
        to.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(manager, 0);
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                      n + (at[0] == '/'))),
                     0);
    setenv("NOTIFY_SOCKET", at, 1);
}

static void expect(const char *start)
{
    char text[200];
    ssize_t n = recv(manager, text, sizeof text - 1, 0);

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    ck_assert_msg(strncmp(text, start, strlen(start)) == 0, "%s", text);
}

static void finish(void)
{
    close(manager);
    unsetenv("NOTIFY_SOCKET");
}

START_TEST(a_path_gets_whole_datagrams)
{
    struct err e;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(name, sizeof name, "%s/s", dir);
    listen_at(name);
    ck_assert_int_eq(notify_send("READY=1\nSTATUS=up", &e), 0);
    ck_assert_int_eq(notify_reloading(&e), 0);
    expect("READY=1\nSTATUS=up");
    expect("RELOADING=1\nMONOTONIC_USEC=");
    finish();
    unlink(name);
    rmdir(dir);
}
END_TEST

START_TEST(an_abstract_name_is_reached)
{
    struct err e;

    snprintf(name, sizeof name, "@mta-notify-%ld", (long)getpid());
    listen_at(name);
    ck_assert_int_eq(notify_send("STOPPING=1", &e), 0);
    expect("STOPPING=1");
    finish();
}
END_TEST

START_TEST(without_a_manager_nothing_is_sent)
{
    struct err e;

    unsetenv("NOTIFY_SOCKET");
    ck_assert_int_eq(notify_send("READY=1", &e), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    ck_assert_int_eq(notify_send("READY=1", &e), 0);
    unsetenv("NOTIFY_SOCKET");
}
END_TEST

START_TEST(what_is_no_socket_is_an_error)
{
    char longest[200];
    struct err e;

    setenv("NOTIFY_SOCKET", "run/notify", 1);
    ck_assert_int_eq(notify_send("READY=1", &e), -1);
    ck_assert_str_eq(e.text, "$NOTIFY_SOCKET is no socket: 'run/notify'");
    setenv("NOTIFY_SOCKET", "/nowhere/notify", 1);
    ck_assert_int_eq(notify_send("READY=1", &e), -1);
    ck_assert_str_eq(e.text,
                     "notify /nowhere/notify: No such file or directory");
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    ck_assert_int_eq(notify_send("READY=1", &e), -1);
    unsetenv("NOTIFY_SOCKET");
}
END_TEST

Suite *base_notify_suite(void);

Suite *base_notify_suite(void)
{
    Suite *s = suite_create("base.notify");
    TCase *t = tcase_create("notify");

    tcase_add_test(t, a_path_gets_whole_datagrams);
    tcase_add_test(t, an_abstract_name_is_reached);
    tcase_add_test(t, without_a_manager_nothing_is_sent);
    tcase_add_test(t, what_is_no_socket_is_an_error);
    suite_add_tcase(s, t);
    return s;
}
