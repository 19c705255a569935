/* test_base_line.c - messages and descriptors between two processes. */
#include "base/line.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int end[2];

static void open_line(void)
{
    ck_assert_int_eq(line_pair(end, NULL), 0);
}

static void close_line(void)
{
    close(end[0]);
    close(end[1]);
}

START_TEST(messages_stay_apart)
{
    char text[LINE_MAX_TEXT];
    int fd;

    ck_assert_int_eq(line_receive(end[1], text, &fd), 0);
    ck_assert_int_eq(line_send(end[0], "one", -1, NULL), 0);
    ck_assert_int_eq(line_send(end[0], "two", -1, NULL), 0);
    ck_assert_int_eq(line_receive(end[1], text, &fd), 1);
    ck_assert_str_eq(text, "one");
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(line_receive(end[1], text, &fd), 1);
    ck_assert_str_eq(text, "two");
    ck_assert_int_eq(line_receive(end[1], text, &fd), 0);
}
END_TEST

START_TEST(a_descriptor_travels)
{
    char text[LINE_MAX_TEXT], byte = 0;
    int pipe_fd[2], fd;

    ck_assert_int_eq(pipe(pipe_fd), 0);
    ck_assert_int_eq(line_send(end[0], "write here", pipe_fd[1], NULL), 0);
    close(pipe_fd[1]);
    ck_assert_int_eq(line_receive(end[1], text, &fd), 1);
    ck_assert_int_ge(fd, 0);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ck_assert_int_eq(write(fd, "x", 1), 1);
    ck_assert_int_eq(read(pipe_fd[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    close(fd);
    close(pipe_fd[0]);
}
END_TEST

START_TEST(a_full_line_is_an_error)
{
    char text[LINE_MAX_TEXT];
    struct err e;
    int fd, sent = 0, got = 0;

    while (line_send(end[0], "once more", -1, &e) == 0)
        sent++;
    ck_assert_int_eq(e.kind, ERR_TEMP);
    while (line_receive(end[1], text, &fd) == 1)
        got++;
    ck_assert_int_eq(sent, got);
    ck_assert_int_eq(line_send(end[0], "again", -1, NULL), 0);
}
END_TEST

START_TEST(a_closed_end_is_seen)
{
    char text[LINE_MAX_TEXT];
    int fd;

    ck_assert_int_eq(line_send(end[0], "last", -1, NULL), 0);
    close(end[0]);
    ck_assert_int_eq(line_receive(end[1], text, &fd), 1);
    ck_assert_int_eq(line_receive(end[1], text, &fd), -1);
    ck_assert_int_eq(line_send(end[1], "nobody", -1, NULL), -1);
    end[0] = dup(end[1]); /* for close_line() */
}
END_TEST

Suite *base_line_suite(void);
Suite *base_line_suite(void)
{
    Suite *s = suite_create("base.line");
    TCase *t = tcase_create("line");

    tcase_add_checked_fixture(t, open_line, close_line);
    tcase_add_test(t, messages_stay_apart);
    tcase_add_test(t, a_descriptor_travels);
    tcase_add_test(t, a_full_line_is_an_error);
    tcase_add_test(t, a_closed_end_is_seen);
    suite_add_tcase(s, t);
    return s;
}
