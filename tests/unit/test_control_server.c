/* test_control_server.c - the line protocol, and whose the socket is. */
#include "control/server.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static char dir[64], run[72], sock[104], asked[1024];

enum { LONG = 20000 }; /* lines of a long answer */
static int ends;       /* of its states */

/* A piece of a long answer: as many lines as have room. */
static int long_piece(struct control_call *call, struct buf *answer)
{
    int *next = call->state;

    if (next == NULL) {
        next = calloc(1, sizeof *next);
        ck_assert_ptr_nonnull(next);
        call->state = next;
    }
    while (*next < LONG && control_has_room(answer))
        control_add(answer, "line %d", (*next)++);
    return *next < LONG ? CONTROL_MORE : CONTROL_DONE;
}

static void end_piece(void *ctx, struct control_call *call)
{
    (void)ctx;
    free(call->state);
    ends++;
}

static int command(void *ctx, struct control_call *call, struct buf *answer,
                   struct err *e)
{
    const char *text = call->command;

    (void)ctx;
    if (strcmp(text, "long") == 0)
        return long_piece(call, answer);
    strncat(asked, text, sizeof asked - strlen(asked) - 2);
    strncat(asked, ";", 2);
    if (strcmp(text, "list") == 0) {
        control_add(answer, "one");
        control_add(answer, "two\nlines");
    } else if (strcmp(text, "endless") == 0) {
        for (int i = 0; i < 10000; i++)
            control_add(answer, "line %d", i);
    } else if (strcmp(text, "fail") == 0) {
        return err_set(e, ERR_USAGE, 0, "because");
    }
    return 0;
}

static const struct control_service service = { "control", command, end_piece,
                                                NULL };

static void open_dir(void)
{
    asked[0] = '\0';
    ends = 0;
    snprintf(dir, sizeof dir, "/tmp/mta-control-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(run, sizeof run, "%s/run", dir);
    snprintf(sock, sizeof sock, "%s/run/control.sock", dir);
    ck_assert_int_eq(mkdir(run, 0700), 0);
    ck_assert_int_eq(loop_new(&loop, NULL, NULL), 0);
}

static void close_dir(void)
{
    char lock[128];

    loop_free(&loop);
    snprintf(lock, sizeof lock, "%s/control.lock", run);
    (void)unlink(lock);
    (void)unlink(sock);
    ck_assert_int_eq(rmdir(run), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int connect_to(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%s", sock);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What the peer has got after some turns; "": nothing; NULL: closed. */
static const char *answer_on(int fd)
{
    static char text[32 * 1024];

    for (int i = 0; i < 4; i++)
        ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN ? "" : NULL;
    text[n] = '\0';
    return n > 0 ? text : NULL;
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL),
                     (ssize_t)strlen(text));
}

static const struct {
    const char *sent, *answer;
} cases[] = {
    { "nothing\n", "ok\n" },
    { "list\n", " one\n two lines\nok\n" },
    { "list\r\n", " one\n two lines\nok\n" },
    { "fail\n", "error: because\n" },
    { "fail\nlist\n", "error: because\n one\n two lines\nok\n" },
    { "endless\n", "error: the answer is too long\n" },
    { "no end of line", "" },
};

START_TEST(answers)
{
    struct control *c;

    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    int fd = connect_to();
    say(fd, cases[_i].sent);
    ck_assert_str_eq(answer_on(fd), cases[_i].answer);
    control_close(&c);
    ck_assert_ptr_null(answer_on(fd));
    close(fd);
}
END_TEST

START_TEST(a_command_in_pieces)
{
    struct control *c;

    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    int fd = connect_to();
    for (const char *p = "list\nfa"; *p != '\0'; p++) {
        char one[2] = { *p, '\0' };
        say(fd, one);
        ck_assert_str_eq(answer_on(fd),
                         *p == '\n' ? " one\n two lines\nok\n" : "");
    }
    close(fd); /* half a command is none */
    ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    ck_assert_str_eq(asked, "list;");
    control_close(&c);
}
END_TEST

START_TEST(too_long_a_line)
{
    struct control *c;
    char text[600];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    int fd = connect_to();
    say(fd, text);
    ck_assert_ptr_null(answer_on(fd));
    ck_assert_str_eq(asked, "");
    close(fd);
    control_close(&c);
}
END_TEST

/* To be freed: all that comes, to that end. */
static char *long_answer_on(int fd, const char *end)
{
    size_t size = LONG * 16, n = 0, k = strlen(end);
    char *text = malloc(size);

    ck_assert_ptr_nonnull(text);
    while (n < k || memcmp(text + n - k, end, k) != 0) {
        ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
        ssize_t got = recv(fd, text + n, size - n - 1, MSG_DONTWAIT);
        ck_assert(got > 0 || (got < 0 && errno == EAGAIN));
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = '\0';
    return text;
}

START_TEST(a_long_answer_comes_in_pieces)
{
    struct control *c;
    char *text, last[64];

    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    int fd = connect_to();
    say(fd, "long\nlist\n");
    ck_assert_int_ge(loop_turn(loop, 0, NULL), 0); /* the connection */
    ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    char first[64 * 1024];
    ssize_t n = recv(fd, first, sizeof first, MSG_DONTWAIT | MSG_PEEK);
    ck_assert_int_gt(n, 0);
    ck_assert_int_le(n, 16 * 1024); /* one piece in one turn */
    snprintf(last, sizeof last, " line %d\nok\n one\n two lines\nok\n",
             LONG - 1);
    text = long_answer_on(fd, last);
    free(text);
    ck_assert_int_eq(ends, 1);
    close(fd);
    control_close(&c);
}
END_TEST

/* It waits for its reader, and its state goes with the connection. */
START_TEST(nobody_reads_a_long_answer)
{
    struct control *c;

    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    int fd = connect_to(), other = connect_to();
    say(fd, "long\n");
    for (int i = 0; i < 200; i++)
        ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    ck_assert_int_eq(loop_nready(loop), 0); /* no busy loop */
    say(other, "list\n");
    ck_assert_str_eq(answer_on(other), " one\n two lines\nok\n");
    ck_assert_int_eq(ends, 0);
    close(fd);
    ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    ck_assert_int_eq(ends, 1);
    close(other);
    control_close(&c);
}
END_TEST

START_TEST(too_many_connections)
{
    struct control *c;
    int fd[9];

    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    for (int i = 0; i < 9; i++) {
        fd[i] = connect_to();
        for (int k = 0; k < 2; k++)
            ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    }
    ck_assert_str_eq(answer_on(fd[8]), "error: too many connections\n");
    say(fd[7], "list\n");
    ck_assert_str_eq(answer_on(fd[7]), " one\n two lines\nok\n");
    for (int i = 0; i < 9; i++)
        close(fd[i]);
    control_close(&c);
}
END_TEST

/* A connection that cannot be accepted waits, and the process does not spin.
 * (Valgrind keeps the limit itself: it accepts and closes again.) */
START_TEST(no_descriptor_is_free)
{
    struct rlimit before, none;
    struct control *c;

    if (getenv("TEST_VALGRIND") != NULL)
        return;
    ck_assert_int_eq(control_listen(&c, loop, dir, &service, NULL), 0);
    int fd = connect_to();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)fd + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(loop_turn(loop, 0, NULL), 0);
    ck_assert_int_eq(loop_nready(loop), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    say(fd, "list\n");
    for (int i = 0; i < 4; i++)
        ck_assert_int_ge(loop_turn(loop, 500, NULL), 0);
    ck_assert_str_eq(answer_on(fd), " one\n two lines\nok\n");
    close(fd);
    control_close(&c);
}
END_TEST

START_TEST(the_socket)
{
    struct control *c, *second;
    struct stat st;
    struct err e;

    ck_assert_msg(control_listen(&c, loop, dir, &service, &e) == 0, "%s",
                  e.text);
    ck_assert_int_eq(stat(sock, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    /* A living one is not stolen. */
    ck_assert_int_eq(control_listen(&second, loop, dir, &service, &e), -1);
    ck_assert_int_eq(e.sys, EWOULDBLOCK);
    int fd = connect_to();
    ck_assert_int_ge(fd, 0);
    say(fd, "list\n");
    ck_assert_str_eq(answer_on(fd), " one\n two lines\nok\n");
    control_close(&c);
    ck_assert_int_ne(stat(sock, &st), 0);
    close(fd);
}
END_TEST

/* Killed: it leaves the socket, whose place the next one takes; not so the
 * child of one that lives. */
START_TEST(a_stale_socket_is_replaced)
{
    struct control *c;
    struct err e;
    int ready[2];
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (control_listen(&c, loop, dir, &service, &e) == 0)
            (void)!write(ready[1], "", 1);
        (void)pause();
        _exit(1);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    ck_assert_int_eq(control_listen(&c, loop, dir, &service, &e), -1);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(connect_to(), -1);
    ck_assert_msg(control_listen(&c, loop, dir, &service, &e) == 0, "%s",
                  e.text);
    int fd = connect_to();
    ck_assert_int_ge(fd, 0);
    close(fd);
    pid = fork();
    if (pid == 0) {
        control_forget(&c);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    fd = connect_to();
    ck_assert_int_ge(fd, 0);
    close(fd);
    control_close(&c);
}
END_TEST

/* run/ is the user's: a link there must not lead the supervisor elsewhere. */
START_TEST(not_through_a_link)
{
    struct control *c;
    struct err e;
    char real[96];

    snprintf(real, sizeof real, "%s/real", dir);
    ck_assert_int_eq(rename(run, real), 0);
    ck_assert_int_eq(symlink("real", run), 0);
    ck_assert_int_eq(control_listen(&c, loop, dir, &service, &e), -1);
    ck_assert_int_eq(unlink(run), 0);
    ck_assert_int_eq(rename(real, run), 0);
}
END_TEST

Suite *control_server_suite(void);
Suite *control_server_suite(void)
{
    Suite *s = suite_create("control.server");
    TCase *t = tcase_create("server");

    tcase_add_checked_fixture(t, open_dir, close_dir);
    tcase_add_loop_test(t, answers, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, a_command_in_pieces);
    tcase_add_test(t, too_long_a_line);
    tcase_add_test(t, a_long_answer_comes_in_pieces);
    tcase_add_test(t, nobody_reads_a_long_answer);
    tcase_add_test(t, no_descriptor_is_free);
    tcase_add_test(t, too_many_connections);
    tcase_add_test(t, the_socket);
    tcase_add_test(t, a_stale_socket_is_replaced);
    tcase_add_test(t, not_through_a_link);
    suite_add_tcase(s, t);
    return s;
}
