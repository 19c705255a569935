/* test_log_line.c - reading lines back. */
#include "log/line.h"
#include "log/show.h"
#include "log_rig.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define T "2026-01-31T10:00:00.123456Z info a.b "
#define J                                                                      \
    "{\"time\":\"2026-01-31T10:00:00.123456Z\",\"level\":\"info\","            \
    "\"event\":\"a.b\","

static const struct {
    const char *name, *line;
    bool found; /* id=x7 */
} cases[] = {
    { "text, first", T "id=x7 a=b", true },
    { "text, last", T "a=b id=x7\n", true },
    { "text, quoted", T "id=\"x7\" a=b", true },
    { "text, other value", T "id=x70", false },
    { "text, other key", T "sid=x7", false },
    { "text, inside a value", T "helo=\"a id=x7 b\" c=d", false },
    { "text, behind an escape", T "helo=\"a\\\" id=x7 \\\\\" c=d", false },
    { "text, after such a value", T "helo=\"a\\\" b\\\\\" id=x7", true },
    { "text, none", "", false },
    { "text, no end of a quote", T "a=\"b id=x7", false },
    { "text, quote at the very end", T "id=\"", false },
    { "JSON, first", J "\"id\":\"x7\",\"a\":\"b\"}", true },
    { "JSON, last", J "\"a\":1,\"id\":\"x7\"}\n", true },
    { "JSON, other value", J "\"id\":\"x70\"}", false },
    { "JSON, other key", J "\"sid\":\"x7\"}", false },
    { "JSON, inside a value", J "\"a\":\"\\\",\\\"id\\\":\\\"x7\"}", false },
    { "JSON, after such a value", J "\"a\":\"\\\"\\\\\",\"id\":\"x7\"}", true },
    { "JSON, cut", J "\"id\":\"x7", false },
    { "JSON, cut at the key", J "\"id", false },
    { "JSON, cut at the colon", J "\"id\":", false },
    { "JSON, only a brace", "{", false },
};

/* A value of a peer that looks like a field does not count. */
static bool has(struct span line, const char *key, const char *value)
{
    struct log_line l;
    struct span k, v;

    log_line_begin(&l, line);
    while (log_line_next(&l, &k, &v))
        if (v.p != NULL && span_is(k, key) && span_is(v, value))
            return true;
    return false;
}

START_TEST(finds)
{
    /* In memory of its own: reading beyond it is seen by valgrind. */
    size_t n = strlen(cases[_i].line);
    char *copy = malloc(n + 1);

    ck_assert(copy != NULL);
    memcpy(copy, cases[_i].line, n);
    ck_assert_msg(has((struct span){ copy, n }, "id", "x7") == cases[_i].found,
                  "%s", cases[_i].name);
    free(copy);
}
END_TEST

static const char text_line[] =
    "2026-01-31T10:00:00.500000Z info send.delivered id=x7 part=2 sid=s1 "
    "from=\"<\\\"a b\\\"@x.test>\" to=Bob@y.test address=192.0.2.1:25 q=\"\"\n";
static const char json_line[] =
    "{\"time\":\"2026-01-31T10:00:00.500000Z\",\"level\":\"info\","
    "\"event\":\"send.delivered\",\"id\":\"x7\",\"part\":2,\"sid\":\"s1\","
    "\"from\":\"\\\"a b\\\"@x.test\",\"to\":\"Bob@y.test\","
    "\"address\":\"192.0.2.1:25\"}\n";

enum { HALF_PAST = 500000 };
#define AT(us) (1769853600000000u + (us))

static const struct {
    const char *name;
    struct log_filter filter;
    bool takes;
} filters[] = {
    { "nothing set", { .id = NULL }, true },
    { "id", { .id = "x7" }, true },
    { "another id", { .id = "x70" }, false },
    { "id and session", { .id = "x7", .sid = "s1" }, true },
    { "id and another session", { .id = "x7", .sid = "s2" }, false },
    { "recipient, in other letters", { .address = "bob@Y.test" }, true },
    { "sender with quotes", { .address = "\"a b\"@x.test" }, true },
    { "a part of an address", { .address = "ob@y.test" }, false },
    { "host", { .address = "192.0.2.1" }, true },
    { "host and port", { .address = "192.0.2.1:25" }, true },
    { "another host", { .address = "192.0.2.10" }, false },
    { "event", { .event = "send.delivered" }, true },
    { "events of a process", { .event = "send" }, true },
    { "another event", { .event = "send.deferred" }, false },
    { "a part of an event", { .event = "send.deliv" }, false },
    { "another process", { .event = "sen" }, false },
    { "since before", { .since = AT(HALF_PAST - 1) }, true },
    { "since then", { .since = AT(HALF_PAST) }, true },
    { "since later", { .since = AT(HALF_PAST + 1) }, false },
    { "until then", { .until = AT(HALF_PAST) }, true },
    { "until before", { .until = AT(HALF_PAST - 1) }, false },
};

START_TEST(filters_lines)
{
    const struct log_filter *f = &filters[_i].filter;

    ck_assert_msg(log_filter_takes(f, span_of(text_line)) == filters[_i].takes,
                  "%s, text", filters[_i].name);
    ck_assert_msg(log_filter_takes(f, span_of(json_line)) == filters[_i].takes,
                  "%s, JSON", filters[_i].name);
    ck_assert(log_filter_is_set(f) == (_i > 0));
}
END_TEST

START_TEST(fields)
{
    const char *const lines[] = { text_line, json_line };

    for (int i = 0; i < 2; i++) {
        struct span line = span_of(lines[i]);
        ck_assert(span_is(log_field_of(line, "event"), "send.delivered"));
        ck_assert(span_is(log_field_of(line, "part"), "2"));
        ck_assert(span_is(log_field_of(line, "level"), "info"));
        ck_assert_uint_eq(log_field_of(line, "none").n, 0);
    }
}
END_TEST

static const struct {
    const char *given, *near;
    bool known;
} events[] = {
    { "send.delivered", NULL, true },
    { "send", NULL, true },
    { "queue", NULL, true },
    { "send.deliverd", "send.delivered", false },
    { "accepted", "serve.accepted", false },
    { "zzzzzzzzzzzzzzzzzz", NULL, false },
    { "", NULL, false },
};

START_TEST(names_of_events)
{
    const char *near;

    ck_assert(log_event_known(events[_i].given, &near) == events[_i].known);
    if (events[_i].near != NULL)
        ck_assert_str_eq(near, events[_i].near);
}
END_TEST

static struct rig rig;
static char out[128];

static void set_up(void)
{
    rig_make(&rig);
    rig_path(out, &rig, "out");
}

static void tear_down(void)
{
    rig_done(&rig);
}

static void append(const char *text)
{
    int fd = open(rig.file, O_WRONLY | O_CREAT | O_APPEND, 0600);

    ck_assert(fd >= 0 && write(fd, text, strlen(text)) == (int)strlen(text));
    close(fd);
}

static pid_t show(const char *id, const char *sid, bool follow)
{
    fflush(NULL);
    pid_t pid = fork();

    if (pid == 0) {
        struct err e;
        int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, STDOUT_FILENO);
        const struct log_show s = { .file = rig.file,
                                    .filter = { .id = id, .sid = sid },
                                    .follow = follow,
                                    .rotated = true };
        int rc = log_show(&s, &e);
        fflush(stdout);
        _exit(rc == 0 ? 0 : 1);
    }
    return pid;
}

static const struct {
    const char *name, *id, *sid;
    const char *want;
} show_cases[] = {
    { "all", NULL, NULL, "t l e id=1 sid=2\nt l e id=1\nt l e sid=2\nend" },
    { "by id", "1", NULL, "t l e id=1 sid=2\nt l e id=1\n" },
    { "by session", NULL, "2", "t l e id=1 sid=2\nt l e sid=2\n" },
    { "by both", "1", "2", "t l e id=1 sid=2\n" },
    { "none", "3", NULL, "" },
};

START_TEST(shows)
{
    char got[200] = "";

    append("t l e id=1 sid=2\nt l e id=1\nt l e sid=2\nend");
    ck_assert_int_eq(
        rig_wait(show(show_cases[_i].id, show_cases[_i].sid, false)), 0);
    int fd = open(out, O_RDONLY);
    ck_assert(read(fd, got, sizeof got - 1) >= 0);
    close(fd);
    ck_assert_msg(strcmp(got, show_cases[_i].want) == 0, "%s: %s",
                  show_cases[_i].name, got);
}
END_TEST

/* Those of logrotate, in the order of their age. */
START_TEST(rotated_files_come_first)
{
    static const char *const names[] = { "log.3", "log.2", "log.1" };
    char path[128], text[40], got[400] = "";

    for (int i = 0; i < 3; i++) {
        struct timespec at[2] = { { 1000 + i, 0 }, { 1000 + i, 0 } };
        rig_path(path, &rig, names[i]);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        int n = snprintf(text, sizeof text, "t l e id=1 of=%s\n", names[i]);
        ck_assert(write(fd, text, (size_t)n) == n);
        ck_assert_int_eq(futimens(fd, at), 0);
        close(fd);
    }
    append("t l e id=1 of=log\n");
    ck_assert_int_eq(rig_wait(show("1", NULL, false)), 0);
    int fd = open(out, O_RDONLY);
    ck_assert(read(fd, got, sizeof got - 1) >= 0);
    close(fd);
    ck_assert_str_eq(got, "t l e id=1 of=log.3\nt l e id=1 of=log.2\n"
                          "t l e id=1 of=log.1\nt l e id=1 of=log\n");
    for (int i = 0; i < 3; i++) {
        rig_path(path, &rig, names[i]);
        ck_assert_int_eq(unlink(path), 0);
    }
}
END_TEST

START_TEST(no_file_is_an_error)
{
    int status = rig_wait(show(NULL, NULL, false));

    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}
END_TEST

/* New lines, a line in two pieces, a new file, an emptied file. */
START_TEST(follows)
{
    char old[128];

    for (int i = 0; i < 9; i++)
        append("early\n");
    append("t l e id=0\n");
    append("t l e id=1\n");
    rig_path(old, &rig, "log.old");
    pid_t pid = show(NULL, NULL, true);
    RIG_UNTIL(rig_contains(out, "id=1\n"));
    ck_assert_uint_eq(rig_size(out), 8 * 6 + 2 * 11); /* the last ten */
    append("t l e id");
    append("=2\n");
    RIG_UNTIL(rig_contains(out, "id=2\n"));
    ck_assert_int_eq(rename(rig.file, old), 0);
    append("t l e id=3\n");
    RIG_UNTIL(rig_contains(out, "id=3\n"));
    ck_assert_int_eq(truncate(rig.file, 0), 0);
    append("x=4\n");
    RIG_UNTIL(rig_contains(out, "x=4\n"));
    rig_end(pid, SIGKILL); /* Check handles SIGTERM in its children */
    ck_assert_uint_eq(rig_size(out), 8 * 6 + 4 * 11 + 4);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

Suite *log_line_suite(void);
Suite *log_line_suite(void)
{
    Suite *s = suite_create("log.find");
    TCase *t = tcase_create("fields"), *f = tcase_create("show");

    tcase_add_loop_test(t, finds, 0, COUNT(cases));
    tcase_add_loop_test(t, filters_lines, 0, COUNT(filters));
    tcase_add_test(t, fields);
    tcase_add_loop_test(t, names_of_events, 0, COUNT(events));
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(f, set_up, tear_down);
    tcase_set_timeout(f, 120);
    tcase_add_loop_test(f, shows, 0, COUNT(show_cases));
    tcase_add_test(f, rotated_files_come_first);
    tcase_add_test(f, no_file_is_an_error);
    tcase_add_test(f, follows);
    suite_add_tcase(s, f);
    return s;
}
