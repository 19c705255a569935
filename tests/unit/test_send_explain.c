/* test_send_explain.c - the answers of run/send.sock, from a scheduler with
 * fake workers. */
#include "send/explain.h"

#include "sched_rig.h"
#include "send/work_item.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sched_rig *r;
static struct control *control;
static int fd;

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "192.0.2.1" } },
    { "two.test", MX_OK, { "mx.two.test" }, { "192.0.2.1" } },
    { "dead.test", MX_OK, { "mx.dead.test" }, { "192.0.2.9" } },
    { ".many.test", MX_OK, { "mx.dead.test" }, { "192.0.2.9" } },
};

static void setup(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct err e;

    r = sched_rig_open(NULL);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
    ck_assert_msg(explain_open(&control, &r->s, &e) == 0, "%s", e.text);
    snprintf(at.sun_path, sizeof at.sun_path, "%s/run/send.sock", r->dir);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
}

static void teardown(void)
{
    close(fd);
    control_close(&control);
    sched_rig_close(&r);
}

static bool is_complete(const char *text, size_t n)
{
    const char *last;

    if (n == 0 || text[n - 1] != '\n')
        return false;
    for (last = text + n - 1; last > text && last[-1] != '\n'; last--)
        ;
    return *last != ' ';
}

/* The whole answer; *turns of the loop that it took. */
static const char *ask(const char *command, int *turns)
{
    static char text[1 << 20];
    size_t n = 0;

    ck_assert_int_eq(send(fd, command, strlen(command), MSG_NOSIGNAL),
                     (ssize_t)strlen(command));
    for (*turns = 0; !is_complete(text, n); ++*turns) {
        ck_assert_int_lt(*turns, 10000);
        ck_assert_int_ge(loop_turn(r->s.loop, 0, NULL), 0);
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
        ck_assert(got > 0 || (got < 0 && errno == EAGAIN));
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = '\0';
    return text;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        n++;
    return n;
}

/* The session ends with all that it was given. */
static void shut_lane(void)
{
    struct send_session_end end = { .lane = LANE_SHUTS, .fault = true };
    struct send_session *session = NULL;
    struct delivery *j;

    while ((j = sched_rig_next(r)) != NULL)
        session = send_delivery_of(j)->session;
    ck_assert_ptr_nonnull(session);
    answer_set(&end.why, OUTCOME_DEFERRED, "4.4.1", "Connection refused");
    sched_rig_end(r, session, &end);
    for (struct list *l; (l = r->taken.next) != &r->taken;)
        sched_rig_back(r,
                       delivery_of_note(LIST_ENTRY(l, struct work_item, link)),
                       OUTCOME_NONE, "4.4.1", "Connection refused");
}

START_TEST(each_recipient_has_the_host_of_its_own_domain)
{
    char id[MSG_ID_TEXT], want[256];
    int turns;

    sched_rig_add(r, "s@here.test", "a@one.test,b@two.test,c@two.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    msg_id_text(id, j->id);
    const char *text = ask("list\n", &turns);
    snprintf(want, sizeof want, " delivering %s 0 0 ", id);
    ck_assert_msg(strstr(text, want) != NULL, "%s", text);
    snprintf(want, sizeof want,
             " %s 192.0.2.1:25 mx.one.test\n delivering %s "
             "0 1,2 ",
             send_session_id(send_delivery_of(j)->session), id);
    ck_assert_msg(strstr(text, want) != NULL, "%s", text);
    ck_assert_msg(strstr(text, " mx.two.test\nok\n") != NULL, "%s", text);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_str_eq(ask("list\n", &turns), "ok\n");
}
END_TEST

START_TEST(one_message)
{
    char id[MSG_ID_TEXT], command[64];
    int turns;

    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    (void)sched_rig_next(r);
    msg_id_text(id, sched_rig_next(r)->id);
    snprintf(command, sizeof command, "show %s\n", id);
    const char *text = ask(command, &turns);
    ck_assert_uint_eq(count(text, " delivering "), 1);
    ck_assert_ptr_nonnull(strstr(text, id));
    ck_assert_uint_eq(count(ask("list\n", &turns), " delivering "), 2);
}
END_TEST

START_TEST(a_destination_without_a_host)
{
    int turns;

    sched_rig_add(r, "s@here.test", "a@dead.test");
    sched_rig_turn(r);
    shut_lane();
    const char *text = ask("list\n", &turns);
    ck_assert_msg(strncmp(text, " shut mx/dead.test/25 ", 22) == 0, "%s", text);
    ck_assert_msg(strstr(text, " mx.dead.test (192.0.2.9:25): Connection "
                               "refused\nok\n") != NULL,
                  "%s", text);
}
END_TEST

/* A list that is longer than a piece takes several turns, in which others get
 * theirs. */
/* Of a peer without a lane, too; of a provider by the name of its host. */
START_TEST(one_lane)
{
    char want[160];
    int turns;

    ck_assert_str_eq(ask("lane mx.one.test 192.0.2.1:25\n", &turns),
                     " lane none 0 - - 0 0 -\nok\n");
    ck_assert_str_eq(ask("lane x.google.com [2001:db8::1]:25\n", &turns),
                     " lane none 0 - google 0 0 -\nok\n");
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    struct delivery *j = sched_rig_next(r);
    snprintf(want, sizeof want, " lane up 0 %s - 0 0 -\nok\n",
             send_session_id(send_delivery_of(j)->session));
    ck_assert_str_eq(ask("lane mx.one.test 192.0.2.1:25\n", &turns), want);
}
END_TEST

START_TEST(a_shut_lane)
{
    int turns;

    sched_rig_add(r, "s@here.test", "a@dead.test");
    sched_rig_turn(r);
    shut_lane();
    const char *text = ask("lane mx.dead.test 192.0.2.9:25\n", &turns);
    ck_assert_msg(strncmp(text, " lane shut 1", 12) == 0, "%s", text);
    ck_assert_msg(strstr(text, " - - 0 0 Connection refused\nok\n") != NULL,
                  "%s", text);
}
END_TEST

START_TEST(a_long_list_takes_turns)
{
    enum { DOMAINS = 1500, PER_MESSAGE = 50 };
    char rcpts[PER_MESSAGE * 32];
    int turns;

    for (int i = 0; i < DOMAINS; i += PER_MESSAGE) {
        size_t n = 0;
        for (int k = i; k < i + PER_MESSAGE; k++)
            n += (size_t)snprintf(rcpts + n, sizeof rcpts - n,
                                  "%sa@d%d.many.test", n > 0 ? "," : "", k);
        sched_rig_add(r, "s@here.test", rcpts);
    }
    sched_rig_turn(r);
    ck_assert_uint_gt(count(ask("list\n", &turns), " delivering "), 0);
    shut_lane();
    for (int i = 0; i < 20; i++)
        sched_rig_turn(r);
    const char *text = ask("list\n", &turns);
    ck_assert_uint_eq(count(text, " shut mx/d"), DOMAINS);
    ck_assert_int_gt(turns, 5);
}
END_TEST

static const struct {
    const char *command, *answer;
} wrong[] = {
    { "\n", "error: no command ''\n" },
    { "listen\n", "error: no command 'listen'\n" },
    { "show\n", "error: no command 'show'\n" },
    { "show 12\n", "error: '12' is not a message id\n" },
    { "lane \n", "error: '' is not a host and an address\n" },
    { "lane mx.test\n", "error: 'mx.test' is not a host and an address\n" },
    { "lane mx.test x\n",
      "error: 'x' is not an address (192.0.2.1:25, [::1]:25)\n" },
};

START_TEST(wrong_commands)
{
    int turns;

    ck_assert_str_eq(ask(wrong[_i].command, &turns), wrong[_i].answer);
}
END_TEST

Suite *send_explain_suite(void);
Suite *send_explain_suite(void)
{
    Suite *s = suite_create("send.explain");
    TCase *t = tcase_create("explain");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, each_recipient_has_the_host_of_its_own_domain);
    tcase_add_test(t, one_message);
    tcase_add_test(t, a_destination_without_a_host);
    tcase_add_test(t, one_lane);
    tcase_add_test(t, a_shut_lane);
    tcase_add_test(t, a_long_list_takes_turns);
    tcase_add_loop_test(t, wrong_commands, 0, sizeof wrong / sizeof wrong[0]);
    suite_add_tcase(s, t);
    return s;
}
