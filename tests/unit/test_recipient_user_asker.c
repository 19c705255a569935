/* test_recipient_user_asker.c - questions about users, and a helper that is
 * played by the test or is the real one. */
#include "base/line.h"
#include "base/os.h"
#include "config/conf.h"
#include "net/loop.h"
#include "recipient/resolve.h"
#include "recipient/user_asker.h"
#include "recipient/user_helper.h"
#include "test_clock.h"

#include <check.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static struct user_asker *asker;
static int helper = -1; /* the test's end of the line */
static struct {
    unsigned answered, lost;
    bool replace;
} seen;

static void connect_helper(void)
{
    int end[2];
    struct err e;

    if (helper >= 0)
        close(helper);
    ck_assert_int_eq(line_pair(end, &e), 0);
    helper = end[0];
    user_asker_connect(asker, end[1]);
}

static void on_answered(void *ctx)
{
    ck_assert_ptr_eq(ctx, &seen);
    seen.answered++;
}

static void on_lost(void *ctx)
{
    ck_assert_ptr_eq(ctx, &seen);
    seen.lost++;
    if (seen.replace)
        connect_helper();
}

static void set_up(void)
{
    struct err e;

    test_clock_stop();
    memset(&seen, 0, sizeof seen);
    ck_assert_int_eq(loop_new(&loop, NULL, &e), 0);
    ck_assert_int_eq(
        user_asker_new(&asker, loop, on_answered, on_lost, &seen, &e), 0);
}

static void tear_down(void)
{
    user_asker_free(&asker);
    loop_free(&loop);
    test_clock_go_on();
    if (helper >= 0)
        close(helper);
    helper = -1;
}

static void turn(int ms)
{
    struct err e;

    ck_assert_int_eq(loop_turn(loop, ms, &e), 0);
}

static void turn_until(const unsigned *n, unsigned want)
{
    for (int i = 0; i < 3000 && *n < want; i++)
        turn(10);
    ck_assert_uint_eq(*n, want);
}

static void pass_ms(uint64_t ms)
{
    test_clock_pass_ms(ms);
    turn(0);
}

/* The next question, its names with blanks between them. */
static const char *asked(void)
{
    static char text[8192];

    ssize_t n = recv(helper, text, sizeof text - 1, 0);
    if (n <= 0)
        return "nothing";
    for (ssize_t i = 0; i < n - 1; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    return text;
}

static void answer(const char *text)
{
    size_t n = strlen(text) + 1;

    ck_assert_int_eq(send(helper, text, n, 0), (ssize_t)n);
}

static void expect(const char *name, enum user_found want)
{
    ck_assert_msg(user_asker_find(asker, name) == want, "%s", name);
}

START_TEST(one_question_for_all_of_a_turn)
{
    connect_helper();
    expect("ann", USER_WAIT);
    expect("bob", USER_WAIT);
    expect("ann", USER_WAIT);
    turn(0);
    ck_assert_str_eq(asked(), "ann bob");
    expect("ann", USER_WAIT);
    turn(0);
    ck_assert_str_eq(asked(), "nothing");
    answer("+ann");
    answer("-bob");
    turn_until(&seen.answered, 1);
    expect("ann", USER_YES);
    expect("bob", USER_NO);
    ck_assert_uint_eq(seen.lost, 0);
}
END_TEST

START_TEST(failed_at_the_directory)
{
    connect_helper();
    expect("ann", USER_WAIT);
    turn(0);
    asked();
    answer("?ann");
    answer("+someone"); /* was not asked */
    turn_until(&seen.answered, 1);
    expect("ann", USER_TEMP);
    expect("someone", USER_WAIT);
}
END_TEST

START_TEST(answers_hold_for_a_time)
{
    user_asker_set_ms(asker, ASKER_NO, 20);
    user_asker_set_ms(asker, ASKER_YES, 60000);
    connect_helper();
    expect("ann", USER_WAIT);
    expect("bob", USER_WAIT);
    turn(0);
    asked();
    answer("+ann");
    answer("-bob");
    turn_until(&seen.answered, 1);
    pass_ms(19);
    expect("bob", USER_NO);
    pass_ms(1);
    expect("bob", USER_WAIT);
    expect("ann", USER_YES);
    turn(0);
    ck_assert_str_eq(asked(), "bob");
}
END_TEST

START_TEST(silent_helper_is_given_up)
{
    seen.replace = true;
    user_asker_set_ms(asker, ASKER_SILENT, 40);
    user_asker_set_ms(asker, ASKER_TEMP, 60000);
    connect_helper();
    expect("ann", USER_WAIT);
    turn(0);
    pass_ms(40);
    ck_assert_uint_eq(seen.lost, 1);
    ck_assert_uint_eq(seen.answered, 1);
    expect("ann", USER_TEMP);
    expect("bob", USER_WAIT); /* goes to the new one */
    turn(0);
    ck_assert_str_eq(asked(), "bob");
    answer("+bob");
    turn_until(&seen.answered, 2);
    expect("bob", USER_YES);
    pass_ms(60); /* nothing is open: silence is no fault */
    pass_ms(60);
    ck_assert_uint_eq(seen.lost, 1);
}
END_TEST

START_TEST(no_helper_at_all)
{
    user_asker_set_ms(asker, ASKER_SILENT, 40);
    expect("ann", USER_WAIT);
    turn(0);
    pass_ms(40);
    ck_assert_uint_eq(seen.lost, 1);
    expect("ann", USER_TEMP);
    expect("bob", USER_WAIT);
    connect_helper();
    turn(0);
    ck_assert_str_eq(asked(), "bob");
}
END_TEST

/* A name at which helpers end does not end the next ones for ever. */
START_TEST(questions_of_a_helper_that_ended)
{
    seen.replace = true;
    connect_helper();
    expect("ann", USER_WAIT);
    turn(0);
    ck_assert_str_eq(asked(), "ann");
    shutdown(helper, SHUT_RDWR);
    turn_until(&seen.lost, 1);
    ck_assert_uint_eq(seen.answered, 0);
    expect("bob", USER_WAIT);
    turn(0);
    ck_assert_str_eq(asked(), "ann bob");
    shutdown(helper, SHUT_RDWR);
    turn_until(&seen.lost, 2);
    ck_assert_uint_eq(seen.answered, 1);
    expect("ann", USER_TEMP);
    expect("bob", USER_WAIT);
    turn(0);
    ck_assert_str_eq(asked(), "bob");
}
END_TEST

START_TEST(nonsense_ends_a_helper)
{
    connect_helper();
    expect("ann", USER_WAIT);
    turn(0);
    asked();
    ck_assert_int_eq(send(helper, "+ann", 4, 0), 4); /* without its NUL */
    turn_until(&seen.lost, 1);
}
END_TEST

/* Questions beyond the bound are asked when they are looked up again. */
START_TEST(open_questions_are_bounded)
{
    char name[32], text[64];
    unsigned open = 0;

    connect_helper();
    for (unsigned i = 0; i < 2 * ASKER_OPEN; i++) {
        snprintf(name, sizeof name, "user-with-a-longer-name-%u", i);
        expect(name, USER_WAIT);
    }
    turn(0);
    for (const char *p; strcmp(p = asked(), "nothing") != 0;)
        for (open++; (p = strchr(p, ' ')) != NULL; p++)
            open++;
    ck_assert_uint_eq(open, ASKER_OPEN);
    for (unsigned i = 0; i < ASKER_OPEN; i++) {
        snprintf(text, sizeof text, "+user-with-a-longer-name-%u", i);
        answer(text);
        if (i % 64 == 0)
            turn(0); /* the line has room for some */
    }
    turn(0);
    ck_assert_uint_ge(seen.answered, 1);
    expect("user-with-a-longer-name-0", USER_YES);
    snprintf(name, sizeof name, "user-with-a-longer-name-%u", ASKER_OPEN);
    expect(name, USER_WAIT);
    turn(0);
    ck_assert_str_eq(asked(), name);
}
END_TEST

/* --- the real helper ---------------------------------------------------- */

static pid_t fork_helper(uid_t only)
{
    int end[2];
    struct err e;

    ck_assert_int_eq(line_pair(end, &e), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(end[1]);
        _exit(user_helper_run(end[0], only) == 0 ? 0 : 1);
    }
    close(end[0]);
    user_asker_connect(asker, end[1]);
    return pid;
}

static void expect_end(pid_t pid, int want)
{
    int status;

    user_asker_free(&asker);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), want);
}

static void ask_until_known(const char *name, enum user_found want)
{
    enum user_found u;

    for (int i = 0; i < 500; i++) {
        u = user_asker_find(asker, name);
        if (u != USER_WAIT)
            break;
        turn(10);
    }
    ck_assert_msg(u == want, "%s: %d", name, u);
}

START_TEST(users_of_the_system)
{
    pid_t pid = fork_helper((uid_t)-1);

    ask_until_known("root", USER_YES);
    ask_until_known("no-such-user-here", USER_NO);
    ask_until_known("daemon", USER_YES);
    expect_end(pid, 0);
}
END_TEST

/* As without root: the caller alone. */
START_TEST(one_user_alone)
{
    const struct passwd *pw = getpwnam("daemon");

    ck_assert_ptr_nonnull(pw);
    pid_t pid = fork_helper(pw->pw_uid);
    ask_until_known("root", USER_NO);
    ask_until_known("daemon", USER_YES);
    expect_end(pid, 0);
}
END_TEST

START_TEST(helper_refuses_nonsense)
{
    char name[100];
    int end[2], status;
    struct err e;

    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    for (size_t cut = 0; cut < 2; cut++) {
        ck_assert_int_eq(line_pair(end, &e), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(end[1]);
            _exit(user_helper_run(end[0], (uid_t)-1) == 0 ? 0 : 1);
        }
        close(end[0]);
        ck_assert(send(end[1], name, cut ? 4 : sizeof name, 0) > 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        close(end[1]);
    }
}
END_TEST

/* --- resolving by it ---------------------------------------------------- */

static char aliases[64];

static struct local *open_local(const char *text)
{
    static struct conf_domain domain[] = { { "one.example" } };
    struct conf_local c = { .domains = { 1, domain },
                            .users = { .source = CONF_USERS_PASSWD },
                            .max_targets = 1000,
                            .recipient_delimiter = "+" };
    struct local *l = NULL;
    struct err e;

    snprintf(aliases, sizeof aliases, "/tmp/mta-unit-asker-%d", getpid());
    FILE *f = fopen(aliases, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    snprintf(c.aliases, sizeof c.aliases, "%s", aliases);
    ck_assert_msg(local_open(&l, &c, &e) == 0, "%s", e.text);
    unlink(aliases);
    local_use_asker(l, asker);
    return l;
}

static int collect(void *ctx, const struct local_target *t)
{
    char *got = ctx;
    size_t n = strlen(got);

    snprintf(got + n, 1000 - n, "%d:%s ", t->kind, t->name);
    return 0;
}

static void expect_resolved(const struct local *l, const char *name,
                            enum local_verdict want, const char *targets)
{
    char got[1000] = "";
    enum local_verdict v = local_resolve(
        l, span_of(name), span_of("one.example"), collect, got, NULL);

    ck_assert_msg(v == want, "%s: verdict %d", name, v);
    ck_assert_str_eq(got, targets);
}

START_TEST(all_members_are_asked_at_once)
{
    struct local *l = open_local("team: ann, bob+x, eve@far.example, none\n");
    char key[LOCAL_KEY_MAX];

    connect_helper();
    expect_resolved(l, "team", LOCAL_WAIT, "");
    turn(0);
    ck_assert_str_eq(asked(), "ann bob+x bob none");
    answer("+ann");
    answer("-bob+x");
    answer("+bob");
    answer("-none");
    turn_until(&seen.answered, 1);
    expect_resolved(l, "team", LOCAL_OK,
                    "0:ann 0:bob 1:eve@far.example 2:none@one.example ");
    ck_assert_int_eq(
        local_check(l, span_of("bob+x"), span_of("one.example"), key),
        LOCAL_OK);
    ck_assert_str_eq(key, "bob");
    ck_assert_int_eq(local_check_key(l, "ann"), LOCAL_OK);
    ck_assert_int_eq(local_check_key(l, "none"), LOCAL_UNKNOWN);
    ck_assert_int_eq(local_check_key(l, "carl"), LOCAL_WAIT);
    local_close(&l);
}
END_TEST

START_TEST(rcpt_asks_with_and_without_the_tag)
{
    struct local *l = open_local("team: ann\n");
    char key[LOCAL_KEY_MAX];

    connect_helper();
    ck_assert_int_eq(
        local_check(l, span_of("Bob+x"), span_of("one.example"), key),
        LOCAL_WAIT);
    ck_assert_str_eq(key, "");
    ck_assert_int_eq(
        local_check(l, span_of("team+x"), span_of("one.example"), key),
        LOCAL_WAIT); /* team+x may be a user */
    turn(0);
    ck_assert_str_eq(asked(), "bob+x bob team+x");
    answer("?bob+x");
    answer("-team+x");
    turn_until(&seen.answered, 1);
    ck_assert_int_eq(
        local_check(l, span_of("bob+x"), span_of("one.example"), key),
        LOCAL_TEMP);
    ck_assert_int_eq(
        local_check(l, span_of("team+x"), span_of("one.example"), key),
        LOCAL_OK);
    local_close(&l);
}
END_TEST

/* Nothing of an alias is delivered while one of its members is not known. */
START_TEST(silence_fails_the_whole_alias)
{
    struct local *l = open_local("team: ann, bob\n");

    user_asker_set_ms(asker, ASKER_SILENT, 40);
    connect_helper();
    expect_resolved(l, "team", LOCAL_WAIT, "");
    turn(0);
    ck_assert_str_eq(asked(), "ann bob");
    answer("+ann");
    turn_until(&seen.answered, 1);
    expect_resolved(l, "team", LOCAL_WAIT, "");
    turn(0);
    pass_ms(40);
    ck_assert_uint_eq(seen.lost, 1);
    ck_assert_uint_eq(seen.answered, 2);
    expect_resolved(l, "team", LOCAL_TEMP, "");
    local_close(&l);
}
END_TEST

Suite *recipient_user_asker_suite(void);
Suite *recipient_user_asker_suite(void)
{
    Suite *s = suite_create("recipient.user_asker");
    TCase *t = tcase_create("asker");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, one_question_for_all_of_a_turn);
    tcase_add_test(t, failed_at_the_directory);
    tcase_add_test(t, answers_hold_for_a_time);
    tcase_add_test(t, silent_helper_is_given_up);
    tcase_add_test(t, no_helper_at_all);
    tcase_add_test(t, questions_of_a_helper_that_ended);
    tcase_add_test(t, nonsense_ends_a_helper);
    tcase_add_test(t, open_questions_are_bounded);
    tcase_add_test(t, users_of_the_system);
    tcase_add_test(t, one_user_alone);
    tcase_add_test(t, helper_refuses_nonsense);
    tcase_add_test(t, all_members_are_asked_at_once);
    tcase_add_test(t, rcpt_asks_with_and_without_the_tag);
    tcase_add_test(t, silence_fails_the_whole_alias);
    suite_add_tcase(s, t);
    return s;
}
