/* test_deliver_expand.c - to which targets recipients lead, and which records
 * stand in both queues afterwards. */
#include "base/buf.h"
#include "base/line.h"
#include "deliver_rig.h"
#include "recipient/user_helper.h"
#include "test_clock.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const any[] = { "local.users=any", NULL };
static const char *const few_targets[] = { "local.max_targets=3", NULL };

static const struct {
    const char *name, *aliases, *sender, *rcpts, *fields;
    const char *copies;  /* KEY<REVERSE-PATH>ADDRESS, sorted */
    const char *records; /* deliver_rig_records() */
    const char *notices;
    const char *const *settings;
} cases[] = {
    /* clang-format off */
    { "a user", "", "s@x.test", "joe@here.test", "",
      "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> joe@here.test=delivered\n", "", NULL },
    { "an alias for one mailbox", "info: joe\n", "s@x.test", "info@here.test",
      "", "joe<s@x.test>info@here.test ",
      "local 0 <s@x.test> info@here.test=delivered\n", "", NULL },
    { "an alias for two", "all: joe, ann\n", "s@x.test", "all@here.test", "",
      "ann<s@x.test>ann@here.test joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> all@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered ann@here.test=delivered\n",
      "", NULL },
    { "an alias for another host", "away: bob@far.test\n", "s@x.test",
      "away@here.test", "", "",
      "local 0 <s@x.test> away@here.test=expanded\n"
      "remote 1 <s@x.test> bob@far.test=pending\n", "", NULL },
    { "an alias for both", "mix: joe, bob@far.test\n", "s@x.test",
      "mix@here.test", "", "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> mix@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered bob@far.test=expanded\n"
      "remote 65538 <s@x.test> bob@far.test=pending\n", "", NULL },
    { "equal targets of two aliases", "a: joe, ann\nb: ann, bob\n", "s@x.test",
      "a@here.test,b@here.test", "",
      "ann<s@x.test>ann@here.test bob<s@x.test>bob@here.test "
      "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded b@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered ann@here.test=delivered "
      "bob@here.test=delivered\n", "", NULL },
    { "a name that needs quotes", "a: \"joe smith\", ann\n", "s@x.test",
      "a@here.test", "",
      "ann<s@x.test>ann@here.test joe smith<s@x.test>\"joe smith\"@here.test ",
      "local 0 <s@x.test> a@here.test=expanded\n"
      "local 1 <s@x.test> \"joe smith\"@here.test=delivered "
      "ann@here.test=delivered\n", "", any },
    { "the same alias twice", "a: joe, ann\n", "s@x.test",
      "a@here.test,A@here.test", "",
      "ann<s@x.test>ann@here.test joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded A@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered ann@here.test=delivered\n",
      "", NULL },
    { "a user who is a target too", "a: joe, ann\n", "s@x.test",
      "joe@here.test,a@here.test", "",
      "ann<s@x.test>ann@here.test joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> joe@here.test=expanded a@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered ann@here.test=delivered\n",
      "", NULL },
    { "aliases for the same mailbox", "root: ann\nabuse: root\n", "s@x.test",
      "root@here.test,joe@here.test,abuse@here.test,ann@here.test", "",
      "ann<s@x.test>ann@here.test joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> root@here.test=expanded joe@here.test=delivered "
      "abuse@here.test=expanded ann@here.test=expanded\n"
      "local 1 <s@x.test> ann@here.test=delivered\n", "", NULL },
    { "a user twice", "", "s@x.test", "joe@here.test,JOE@here.test", "",
      "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> joe@here.test=expanded JOE@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered\n", "", NULL },
    { "a user and one elsewhere", "", "s@x.test", "joe@here.test,x@far.test",
      "", "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> joe@here.test=delivered x@far.test=expanded\n"
      "remote 2 <s@x.test> x@far.test=pending\n", "", NULL },
    { "no user", "", "s@x.test", "nobody@here.test", "", "",
      "local 0 <s@x.test> nobody@here.test=failed:5.1.1\n", "s@x.test ",
      NULL },
    { "a member that is no user", "a: joe, ghost\n", "s@x.test", "a@here.test",
      "", "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered ghost@here.test=failed:5.1.1\n",
      "s@x.test ", NULL },
    { "an owner", "a: joe, ghost\nowner-a: ann\n", "s@x.test", "a@here.test",
      "", "ann<>owner-a@here.test joe<owner-a@here.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded\n"
      "local 1 <owner-a@here.test> joe@here.test=delivered "
      "ghost@here.test=failed:5.1.1\n", "owner-a@here.test ", NULL },
    { "an owner of one mailbox", "a: joe\nowner-a: ann\n", "s@x.test",
      "a@here.test", "", "joe<owner-a@here.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded\n"
      "local 1 <owner-a@here.test> joe@here.test=delivered\n", "", NULL },
    { "two owners, a target of both",
      "a: joe, ann\nowner-a: bob\nb: ann, bob\nowner-b: bob\n", "s@x.test",
      "a@here.test,b@here.test", "",
      "ann<owner-a@here.test>ann@here.test bob<owner-b@here.test>bob@here.test "
      "joe<owner-a@here.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded b@here.test=expanded\n"
      "local 1 <owner-a@here.test> joe@here.test=delivered "
      "ann@here.test=delivered\n"
      "local 2 <owner-b@here.test> bob@here.test=delivered\n", "", NULL },
    { "an owner and all targets of another list",
      "a: joe, ann\nb: ann, joe\nowner-b: bob\n", "s@x.test",
      "a@here.test,b@here.test", "",
      "ann<s@x.test>ann@here.test joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> a@here.test=expanded b@here.test=expanded\n"
      "local 1 <s@x.test> joe@here.test=delivered ann@here.test=delivered\n",
      "", NULL },
    { "an owner, for a notice", "a: joe, ann\nowner-a: bob\n", "",
      "a@here.test", "", "ann<>ann@here.test joe<>joe@here.test ",
      "local 0 <> a@here.test=expanded\n"
      "local 1 <> joe@here.test=delivered ann@here.test=delivered\n", "",
      NULL },
    { "nothing for a notice that fails", "", "", "nobody@here.test", "", "",
      "local 0 <> nobody@here.test=failed:5.1.1\n", "", NULL },
    { "/dev/null", "hole: /dev/null\n", "s@x.test", "hole@here.test", "", "",
      "local 0 <s@x.test> hole@here.test=delivered\n", "", NULL },
    { "it has come through the alias", "away: bob@far.test\n", "s@x.test",
      "away@here.test", "Delivered-To: Away@here.test\r\n", "",
      "local 0 <s@x.test> away@here.test=failed:5.4.6\n", "s@x.test ", NULL },
    { "it has come through another", "away: bob@far.test\n", "s@x.test",
      "away@here.test", "X: y\r\n Delivered-To: away@here.test\r\n"
      "Delivered-To: far@here.test\r\n", "",
      "local 0 <s@x.test> away@here.test=expanded\n"
      "remote 1 <s@x.test> bob@far.test=pending\n", "", NULL },
    { "aliases in a circle", "x: y\ny: x\n", "s@x.test", "x@here.test", "", "",
      "local 0 <s@x.test> x@here.test=failed:5.4.6\n", "s@x.test ", NULL },
    { "too many targets", "a: u1@f.test, u2@f.test, u3@f.test, u4@f.test\n",
      "s@x.test", "a@here.test", "", "",
      "local 0 <s@x.test> a@here.test=failed:5.4.6\n", "s@x.test ",
      few_targets },
    { "too many of two aliases",
      "a: u1@f.test, u2@f.test\nb: u3@f.test, u4@f.test\n", "s@x.test",
      "a@here.test,b@here.test", "", "",
      "local 0 <s@x.test> a@here.test=expanded b@here.test=failed:5.4.6\n"
      "remote 1 <s@x.test> u1@f.test=pending u2@f.test=pending\n",
      "s@x.test ", few_targets },
    { "enough of two aliases",
      "a: u1@f.test, u2@f.test\nb: u2@f.test, u3@f.test\n", "s@x.test",
      "a@here.test,b@here.test", "", "",
      "local 0 <s@x.test> a@here.test=expanded b@here.test=expanded\n"
      "remote 1 <s@x.test> u1@f.test=pending u2@f.test=pending "
      "u3@f.test=pending\n", "", few_targets },
    { "postmaster without a user", "", "s@x.test", "postmaster@here.test", "",
      "postmaster<s@x.test>postmaster@here.test ",
      "local 0 <s@x.test> postmaster@here.test=delivered\n", "", NULL },
    { "an address literal of ours", "", "s@x.test", "!joe@[192.0.2.1]", "",
      "joe<s@x.test>joe@[192.0.2.1] ",
      "local 0 <s@x.test> joe@[192.0.2.1]=delivered\n", "", NULL },
    { "another's address literal", "", "s@x.test", "joe@[192.0.2.1]", "", "",
      "local 0 <s@x.test> joe@[192.0.2.1]=expanded\n"
      "remote 1 <s@x.test> joe@[192.0.2.1]=pending\n", "", NULL },
    { "a command", "c: |run it\n", "s@x.test", "c@here.test", "", "",
      "local 0 <s@x.test> c@here.test=pending:4.3.5\n", "", NULL },
    { "a command and a user", "c: |run it, joe\n", "s@x.test", "c@here.test",
      "", "joe<s@x.test>joe@here.test ",
      "local 0 <s@x.test> c@here.test=expanded\n"
      "local 1 <s@x.test> |run it=pending:4.3.5 joe@here.test=delivered\n",
      "", NULL },
    { "no address", "", "s@x.test", "joe@@here.test", "", "",
      "local 0 <s@x.test> joe@@here.test=failed:5.1.3\n", "s@x.test ", NULL },
    /* clang-format on */
};

enum { COPIES_MAX = 16 };

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All copies are delivered; sorted, because processes are in any order. */
static void deliver_all(struct deliver_rig *r, char text[RIG_TEXT])
{
    static char line[COPIES_MAX][1024];
    struct rig_copy *c;
    size_t n = 0;

    while ((c = deliver_rig_next(r)) != NULL && n < COPIES_MAX) {
        snprintf(line[n++], sizeof line[0], "%s<%s>%s ", c->key, c->from,
                 c->to);
        ck_assert(!c->r.look_first);
        deliver_rig_answer(r, c, MAILBOX_DELIVERED, "2.0.0 delivered");
    }
    qsort(line, n, sizeof line[0], compare);
    struct buf b;
    buf_init(&b, text, RIG_TEXT);
    for (size_t i = 0; i < n; i++)
        buf_adds(&b, line[i]);
}

START_TEST(leads_to)
{
    struct deliver_rig *r = deliver_rig_open(
        cases[_i].settings, cases[_i].aliases, "joe\nann\nbob\n");
    char text[RIG_TEXT];

    deliver_rig_add(r, cases[_i].sender, cases[_i].rcpts, cases[_i].fields);
    deliver_rig_turn(r);
    deliver_all(r, text);
    ck_assert_msg(strcmp(text, cases[_i].copies) == 0, "%s: copies %s",
                  cases[_i].name, text);
    deliver_rig_records(r, text);
    ck_assert_msg(strcmp(text, cases[_i].records) == 0, "%s: records\n%s",
                  cases[_i].name, text);
    deliver_rig_notices(r, text);
    ck_assert_msg(strcmp(text, cases[_i].notices) == 0, "%s: notices %s",
                  cases[_i].name, text);
    deliver_rig_close(&r);
}
END_TEST

/* A retry of a child names the mailbox: the alias may be another by then. */
START_TEST(retries_name_the_mailbox)
{
    struct deliver_rig *r =
        deliver_rig_open(NULL, "all: joe, ann\n", "joe\nann\nbob\n");
    struct rig_copy *c;

    deliver_rig_add(r, "s@x.test", "all@here.test", "");
    deliver_rig_turn(r);
    while ((c = deliver_rig_next(r)) != NULL)
        deliver_rig_answer(r, c, MAILBOX_DEFERRED, "4.2.0 not now");
    deliver_rig_renew(r, "all: bob\njoe: bob\nann: bob\n");
    deliver_rig_wait(r, 3600);
    for (unsigned n = 0; n < 2; n++) {
        c = deliver_rig_next(r);
        ck_assert_ptr_nonnull(c);
        ck_assert_str_ne(c->key, "bob");
        deliver_rig_answer(r, c, MAILBOX_DELIVERED, "2.0.0 delivered");
    }
    ck_assert_ptr_null(deliver_rig_next(r));
    deliver_rig_close(&r);
}
END_TEST

/* The header of what goes elsewhere names the alias, once. */
static int find_delivered_to(void *ctx, const struct spool_reader *v)
{
    static const char want[] = "Delivered-To: away@here.test\r\n";
    char text[256] = "";
    struct body b;
    struct err e;

    if (v->queue != SPOOL_REMOTE)
        return 0;
    ck_assert_int_eq(spool_reader_body(v, &b, &e), 0);
    ck_assert_int_gt(body_read(&b, 0, text, sizeof text - 1), 0);
    ck_assert_ptr_null(strstr(text + 1, "Delivered-To"));
    *(int *)ctx += strncmp(text, want, sizeof want - 1) == 0;
    return 0;
}

static const struct {
    const char *rcpts;
    int named;
} names[] = {
    { "away@here.test", 1 },
    { "away@here.test,AWAY@here.test", 1 },
    { "away@here.test,other@here.test", 0 }, /* one may be a Bcc */
    { "away@here.test,c@far.test", 0 },
};

START_TEST(child_names_its_alias)
{
    struct deliver_rig *r = deliver_rig_open(
        NULL, "away: a@far.test, b@far.test\nother: c@far.test\n", "");
    struct err e;
    int n = 0;

    deliver_rig_add(r, "s@x.test", names[_i].rcpts, "");
    deliver_rig_turn(r);
    ck_assert_int_eq(spool_read_all(r->dir, true, find_delivered_to, &n, &e),
                     0);
    ck_assert_int_eq(n, names[_i].named);
    deliver_rig_close(&r);
}
END_TEST

/* Neither queue takes a recipient for its own: it waits for other tables. */
START_TEST(wrong_queue_is_left_once)
{
    struct deliver_rig *r = deliver_rig_open(NULL, "", "joe\n");
    uint64_t tables = r->d.queue.handover.tables;
    char text[RIG_TEXT];

    deliver_rig_add_back(r, "s@x.test", "a@far.test", tables - 1);
    deliver_rig_turn(r);
    ck_assert_str_eq(deliver_rig_records(r, text),
                     "local 0 <s@x.test> a@far.test=expanded\n"
                     "remote 1 <s@x.test> a@far.test=pending\n");
    deliver_rig_add_back(r, "s@x.test", "b@far.test", tables);
    deliver_rig_turn(r);
    ck_assert_ptr_nonnull(
        strstr(deliver_rig_records(r, text), "b@far.test=pending:4.3.5\n"));
    deliver_rig_renew(r, "");
    deliver_rig_wait(r, 3600);
    ck_assert_ptr_nonnull(
        strstr(deliver_rig_records(r, text), "b@far.test=expanded"));
    deliver_rig_close(&r);
}
END_TEST

static int has_no_child(void *ctx, const struct spool_reader *v)
{
    struct spool_slot s;
    struct err e;

    if ((v->rec->flags & SPOOL_BOUNCE) != 0)
        return 0;
    ck_assert_uint_eq(v->rec->part, *(uint64_t *)ctx);
    ck_assert_int_eq(spool_reader_slot(v, 0, &s, &e), 0);
    ck_assert_int_eq(s.state, SPOOL_FAILED);
    ck_assert_uint_eq(s.status.subject * 10u + s.status.detail, 46);
    return 0;
}

START_TEST(fifth_level_fails)
{
    struct deliver_rig *r =
        deliver_rig_open(NULL, "all: joe, ann\n", "joe\nann\n");
    char text[RIG_TEXT];
    struct err e;

    r->part = 0x0001000100010001; /* the fourth */
    deliver_rig_add(r, "s@x.test", "all@here.test", "");
    deliver_rig_turn(r);
    ck_assert_ptr_null(deliver_rig_next(r));
    ck_assert_int_eq(spool_read_all(r->dir, true, has_no_child, &r->part, &e),
                     0);
    ck_assert_str_eq(deliver_rig_notices(r, text), "s@x.test ");
    deliver_rig_close(&r);
}
END_TEST

/* Other mail goes on while the user helper is asked. */
START_TEST(helper_is_asked)
{
    static const char *const settings[] = { "local.users=passwd", NULL };
    struct deliver_rig *r = deliver_rig_open(settings, "x: y@far.test\n", "");
    struct rig_copy *c = NULL;
    char text[RIG_TEXT];
    int end[2];
    struct err e;

    deliver_rig_add(r, "s@x.test", "root@here.test,nobody.such@here.test", "");
    deliver_rig_add(r, "s@x.test", "x@here.test", "");
    deliver_rig_turn(r);
    ck_assert_ptr_null(deliver_rig_next(r));
    ck_assert(!list_empty(&r->d.schedule.asking));
    ck_assert_ptr_nonnull(strstr(deliver_rig_records(r, text),
                                 "remote 1 <s@x.test> y@far.test=pending\n"));

    ck_assert_int_eq(line_pair(end, &e), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(end[0]);
        _exit(user_helper_run(end[1], (uid_t)-1));
    }
    close(end[1]);
    ck_assert_int_eq(line_send(r->line, DELIVER_HELPER, end[0], &e), 0);
    close(end[0]);
    uint64_t until = test_clock_real_ms() + 60000;
    do
        deliver_rig_turn(r);
    while ((c = deliver_rig_next(r)) == NULL && test_clock_real_ms() < until);
    ck_assert_ptr_nonnull(c);
    ck_assert_str_eq(c->key, "root");
    deliver_rig_answer(r, c, MAILBOX_DELIVERED, "2.0.0 delivered");
    ck_assert_ptr_nonnull(strstr(deliver_rig_records(r, text),
                                 " root@here.test=delivered "
                                 "nobody.such@here.test=failed:5.1.1\n"));
    deliver_rig_close(&r);
    waitpid(pid, NULL, 0);
}
END_TEST

Suite *deliver_expand_suite(void);
Suite *deliver_expand_suite(void)
{
    Suite *s = suite_create("deliver.expand");
    TCase *t = tcase_create("all");

    tcase_add_loop_test(t, leads_to, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, retries_name_the_mailbox);
    tcase_add_loop_test(t, child_names_its_alias, 0,
                        sizeof names / sizeof names[0]);
    tcase_add_test(t, wrong_queue_is_left_once);
    tcase_add_test(t, fifth_level_fails);
    tcase_add_test(t, helper_is_asked);
    suite_add_tcase(s, t);
    return s;
}
