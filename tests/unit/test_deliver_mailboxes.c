/* test_deliver_mailboxes.c - what mailbox processes are given, and what becomes
 * of it when they answer, hang or end. */
#include "deliver/mailboxes_private.h"
#include "deliver_rig.h"
#include "recipient/full_page.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct deliver_rig *begin(const char *const *settings)
{
    return deliver_rig_open(settings, "", "joe\nann\nbob\n");
}

static void add(struct deliver_rig *r, const char *user)
{
    char to[64];

    snprintf(to, sizeof to, "%s@here.test", user);
    deliver_rig_add(r, "s@x.test", to, "");
}

static struct rig_copy *must_get(struct deliver_rig *r)
{
    struct rig_copy *c = deliver_rig_next(r);

    ck_assert_ptr_nonnull(c);
    return c;
}

static void delivered(struct deliver_rig *r, struct rig_copy *c)
{
    deliver_rig_answer(r, c, MAILBOX_DELIVERED, "2.0.0 delivered");
}

/* --- answers -------------------------------------------------------------- */

static const struct {
    const char *name;
    struct mailbox_answer answer;
    const char *record;
    bool disk, mailbox; /* on the page of what is full */
    const char *notices;
} answers[] = {
    /* clang-format off */
    { "delivered", { .outcome = MAILBOX_DELIVERED, .status = { 0, 2, 0, 0 } },
      "delivered", false, false, "" },
    { "deferred", { .outcome = MAILBOX_DEFERRED, .status = { 0, 4, 2, 0 } },
      "pending:4.2.0", false, false, "" },
    { "no such user", { .outcome = MAILBOX_FAILED, .status = { 0, 5, 1, 1 } },
      "failed:5.1.1", false, false, "s@x.test " },
    { "wrong owner", { .outcome = MAILBOX_ADMIN, .status = { 0, 4, 3, 5 } },
      "pending:4.3.5", false, false, "" },
    { "disk full", { .outcome = MAILBOX_DEFERRED, .status = { 0, 4, 3, 1 },
                     .disk_full = true },
      "pending:4.3.1", true, false, "" },
    { "over quota", { .outcome = MAILBOX_DEFERRED, .status = { 0, 4, 2, 2 },
                      .over_quota = true },
      "pending:4.2.2", false, true, "" },
    { "damaged", { .outcome = MAILBOX_DEFERRED, .status = { 0, 4, 3, 5 },
                   .damaged = true },
      "pending:4.3.5", false, false, "" },
    /* clang-format on */
};

START_TEST(answers_become)
{
    struct deliver_rig *r = begin(NULL);
    struct mailbox_answer a = answers[_i].answer;
    uint64_t now = loop_now(r->d.loop);
    char text[RIG_TEXT], want[128];

    add(r, "joe");
    deliver_rig_turn(r);
    snprintf(a.text, sizeof a.text, "so it is");
    deliver_rig_answer_as(r, must_get(r), &a);
    snprintf(want, sizeof want, "local 0 <s@x.test> joe@here.test=%s\n",
             answers[_i].record);
    ck_assert_str_eq(deliver_rig_records(r, text), want);
    ck_assert_str_eq(deliver_rig_notices(r, text), answers[_i].notices);
    ck_assert(full_page_disk(r->o.full, now) == answers[_i].disk);
    ck_assert(full_page_mailbox(r->o.full, "joe", now) == answers[_i].mailbox);
    if (strncmp(answers[_i].record, "pending", 7) == 0) {
        deliver_rig_wait(r, 3600);
        struct rig_copy *c = must_get(r);
        ck_assert(c->r.look_first);
        delivered(r, c);
    }
    ck_assert_ptr_null(deliver_rig_next(r));
    ck_assert(!full_page_disk(r->o.full, now));
    ck_assert(!full_page_mailbox(r->o.full, "joe", now));
    deliver_rig_close(&r);
}
END_TEST

/* What waits for a repair is neither returned nor tried for ever. */
START_TEST(repairs_are_held)
{
    static const char *const settings[] = { "send.retry_min=600",
                                            "send.queue_lifetime=3600", NULL };
    struct deliver_rig *r = begin(settings);
    struct rig_copy *c;
    char text[RIG_TEXT];
    int tries = 0;

    add(r, "joe");
    deliver_rig_turn(r);
    for (; (c = deliver_rig_next(r)) != NULL && tries < 1000; tries++) {
        deliver_rig_answer(r, c, MAILBOX_ADMIN, "4.3.5 wrong owner");
        deliver_rig_wait(r, 600);
    }
    ck_assert_int_eq(tries, 7);
    ck_assert_str_eq(deliver_rig_records(r, text),
                     "local 0 <s@x.test> joe@here.test=held:4.3.5\n");
    deliver_rig_renew(r, "");
    deliver_rig_turn(r);
    delivered(r, must_get(r));
    deliver_rig_close(&r);
}
END_TEST

/* --- windows -------------------------------------------------------------- */

static const struct {
    const char *setting;
    unsigned window;
} windows[] = { { "local.mailbox=maildir", MAILBOXES_BOX_WINDOW },
                { "local.mailbox=mbox", MAILBOXES_MBOX_WINDOW } };

START_TEST(one_mailbox_has_a_window)
{
    const char *const settings[] = { windows[_i].setting, NULL };
    struct deliver_rig *r = begin(settings);
    struct rig_copy *c;
    unsigned n = 0, most = 0;

    for (int i = 0; i < 200; i++)
        add(r, "joe");
    add(r, "ann");
    deliver_rig_turn(r);
    struct list all;
    list_init(&all);
    do {
        while ((c = deliver_rig_next(r)) != NULL)
            list_push(&all, &c->link);
        unsigned out = 0;
        for (struct list *l = all.next; l != &all; l = l->next)
            out +=
                strcmp(LIST_ENTRY(l, struct rig_copy, link)->key, "joe") == 0;
        most = out > most ? out : most;
        struct list *l = list_pop(&all);
        if (l == NULL)
            break;
        delivered(r, LIST_ENTRY(l, struct rig_copy, link));
        n++;
    } while (true);
    ck_assert_uint_eq(n, 201);
    ck_assert_uint_eq(most, windows[_i].window);
    ck_assert(!deliver_is_busy(&r->d));
    deliver_rig_close(&r);
}
END_TEST

START_TEST(a_process_has_a_window)
{
    static const char *const any[] = { "local.users=any", NULL };
    struct deliver_rig *r = deliver_rig_open(any, "", "");
    struct rig_copy *c;
    unsigned n = 0;
    char user[16];

    for (int i = 0; i < 2000; i++) {
        snprintf(user, sizeof user, "user%d", i);
        add(r, user);
    }
    deliver_rig_turn(r);
    ck_assert_uint_eq(r->d.mailbox.end[0].ncopies, MAILBOX_WINDOW);
    ck_assert_uint_eq(r->d.mailbox.end[1].ncopies, MAILBOX_WINDOW);
    for (; (c = deliver_rig_next(r)) != NULL; n++)
        delivered(r, c);
    ck_assert_uint_eq(n, 2000);
    ck_assert(!deliver_is_busy(&r->d));
    ck_assert_uint_eq(r->d.mailbox.boxes.n, 0);
    deliver_rig_close(&r);
}
END_TEST

START_TEST(a_long_list_takes_turns)
{
    static const char *const any[] = { "local.users=any", NULL };
    struct deliver_rig *r = deliver_rig_open(any, "", "");
    char rcpts[4000] = "";
    struct rig_copy *c;
    unsigned n = 0, at = 0;

    for (int i = 0; i < 150; i++)
        snprintf(rcpts + strlen(rcpts), sizeof rcpts - strlen(rcpts),
                 "%su%d@here.test", i > 0 ? "," : "", i);
    deliver_rig_add(r, "s@x.test", rcpts, "");
    add(r, "joe");
    deliver_rig_turn(r);
    for (; (c = deliver_rig_next(r)) != NULL; n++) {
        if (strcmp(c->key, "joe") == 0)
            at = n;
        delivered(r, c);
    }
    ck_assert_uint_eq(n, 151);
    ck_assert_uint_lt(at, 120);
    deliver_rig_close(&r);
}
END_TEST

/* --- processes that end --------------------------------------------------- */

START_TEST(a_death_gives_copies_to_the_next)
{
    struct deliver_rig *r = begin(NULL);
    char text[RIG_TEXT];

    add(r, "joe");
    deliver_rig_turn(r);
    struct rig_copy *c = must_get(r);
    ck_assert(!c->r.look_first);
    unsigned process = c->process;
    deliver_rig_die(r, process, c);
    free(c);
    c = must_get(r);
    ck_assert_uint_eq(c->process, process);
    ck_assert(c->r.look_first);
    ck_assert_str_eq(deliver_rig_asked(r, text), "");
    delivered(r, c);
    ck_assert_str_eq(deliver_rig_records(r, text),
                     "local 0 <s@x.test> joe@here.test=delivered\n");
    deliver_rig_close(&r);
}
END_TEST

START_TEST(two_deaths_over_a_copy_put_it_off)
{
    struct deliver_rig *r = begin(NULL);
    char text[RIG_TEXT];

    add(r, "joe");
    deliver_rig_turn(r);
    for (int i = 0; i < 2; i++) {
        struct rig_copy *c = must_get(r);
        deliver_rig_die(r, c->process, c);
        free(c);
    }
    ck_assert_ptr_null(deliver_rig_next(r));
    ck_assert_str_eq(deliver_rig_records(r, text),
                     "local 0 <s@x.test> joe@here.test=pending:4.3.0\n");
    deliver_rig_wait(r, 3600);
    struct rig_copy *c = must_get(r);
    ck_assert(c->r.look_first);
    delivered(r, c);
    deliver_rig_close(&r);
}
END_TEST

START_TEST(mail_waits_for_a_process)
{
    struct deliver_rig *r = begin(NULL);

    deliver_rig_die(r, 0, NULL);
    deliver_rig_die(r, 1, NULL);
    for (unsigned i = 0; i < RIG_MAILBOXES; i++) {
        close(r->process[i]);
        r->process[i] = -1;
    }
    deliver_rig_turn(r);
    add(r, "joe");
    deliver_rig_turn(r);
    ck_assert_ptr_null(deliver_rig_next(r));
    deliver_rig_connect(r, 0);
    deliver_rig_connect(r, 1);
    delivered(r, must_get(r));
    deliver_rig_close(&r);
}
END_TEST

/* --- processes that hang -------------------------------------------------- */

/* Two mailboxes of one process. */
static void two_of_one(const struct deliver_rig *r, char a[16], char b[16])
{
    unsigned n = r->d.mailbox.n;

    snprintf(a, 16, "user0");
    for (int i = 1; i < 100; i++) {
        snprintf(b, 16, "user%d", i);
        if (map_hash(a, strlen(a)) % n == map_hash(b, strlen(b)) % n)
            return;
    }
}

START_TEST(a_stuck_mailbox_is_passed_by)
{
    static const char *const any[] = { "local.users=any", NULL };
    struct deliver_rig *r = deliver_rig_open(any, "", "");
    char a[16], b[16], text[RIG_TEXT], want[64];

    two_of_one(r, a, b);
    add(r, a);
    add(r, b);
    deliver_rig_turn(r);
    struct rig_copy *first = must_get(r), *second = must_get(r);
    unsigned process = first->process;
    ck_assert_uint_eq(process, second->process);

    deliver_rig_stand(r, first, MAILBOXES_STUCK_MS - 1);
    ck_assert_str_eq(deliver_rig_asked(r, text), "");
    deliver_rig_stand(r, first, MAILBOXES_STUCK_MS);
    snprintf(want, sizeof want, "%s%u", DELIVER_REPLACE, process);
    ck_assert_str_eq(deliver_rig_asked(r, text), want);
    snprintf(want, sizeof want, "%s%d", DELIVER_REPLACE, RIG_PATIENT);
    ck_assert_str_eq(deliver_rig_asked(r, text), want);
    ck_assert_ptr_null(deliver_rig_next(r));
    free(first);
    free(second);

    deliver_rig_connect(r, process);
    second = must_get(r);
    ck_assert_str_eq(second->key, b);
    ck_assert_uint_eq(second->process, process);
    ck_assert(second->r.look_first);
    delivered(r, second);

    deliver_rig_connect(r, RIG_PATIENT);
    first = must_get(r);
    ck_assert_str_eq(first->key, a);
    ck_assert_uint_eq(first->process, RIG_PATIENT);
    ck_assert(first->r.look_first);
    deliver_rig_stand(r, first, MAILBOXES_STUCK_MS * 10);
    ck_assert_str_eq(deliver_rig_asked(r, text), "");
    delivered(r, first);

    add(r, a); /* a success ends it */
    deliver_rig_turn(r);
    first = must_get(r);
    ck_assert_uint_eq(first->process, process);
    delivered(r, first);
    ck_assert_uint_eq(r->d.mailbox.boxes.n, 0);
    deliver_rig_close(&r);
}
END_TEST

/* 16 MB a second are no fault. */
START_TEST(a_large_copy_takes_its_time)
{
    struct deliver_rig *r = begin(NULL);
    char text[RIG_TEXT], want[64];

    add(r, "joe");
    deliver_rig_turn(r);
    struct rig_copy *c = must_get(r);
    unsigned process = c->process;
    r->d.mailbox.end[process]
        .out[c->r.tag % MAILBOX_WINDOW]
        ->delivery.body.size = 32 * 1024 * 1024;
    deliver_rig_stand(r, c, MAILBOXES_STUCK_MS + 2000);
    ck_assert_str_eq(deliver_rig_asked(r, text), "");
    deliver_rig_stand(r, c, MAILBOXES_STUCK_MS + 2100);
    snprintf(want, sizeof want, "%s%u", DELIVER_REPLACE, process);
    ck_assert_str_eq(deliver_rig_asked(r, text), want);
    free(c);
    deliver_rig_close(&r);
}
END_TEST

START_TEST(a_patient_mailbox_is_put_off)
{
    struct deliver_rig *r = begin(NULL);
    char text[RIG_TEXT];

    add(r, "joe");
    deliver_rig_turn(r);
    struct rig_copy *c = must_get(r);
    unsigned process = c->process;
    deliver_rig_stand(r, c, MAILBOXES_STUCK_MS);
    free(c);
    deliver_rig_connect(r, process);
    deliver_rig_connect(r, RIG_PATIENT);
    c = must_get(r);
    while (deliver_rig_asked(r, text)[0] != '\0')
        ;
    deliver_rig_stand(r, c, MAILBOXES_PATIENT_MS);
    free(c);
    ck_assert_str_eq(deliver_rig_asked(r, text), DELIVER_REPLACE "2");
    ck_assert_str_eq(deliver_rig_records(r, text),
                     "local 0 <s@x.test> joe@here.test=pending:4.2.0\n");
    deliver_rig_connect(r, RIG_PATIENT);
    deliver_rig_wait(r, 3600);
    c = must_get(r);
    ck_assert_uint_eq(c->process, RIG_PATIENT);
    ck_assert(c->r.look_first);
    delivered(r, c);
    deliver_rig_close(&r);
}
END_TEST

/* Behind a flood for the patient one stands another mailbox. */
START_TEST(a_line_does_not_wait_for_a_patient_mailbox)
{
    static const char *const any[] = { "local.users=any", NULL };
    struct deliver_rig *r = deliver_rig_open(any, "", "");
    char a[16], user[16], text[RIG_TEXT];
    struct rig_copy *c, *stuck = NULL;
    unsigned n = 0, process = 0;

    for (int i = 0; n < MAILBOX_WINDOW + 1; i++) {
        snprintf(user, sizeof user, "user%d", i);
        unsigned at = (unsigned)(map_hash(user, strlen(user)) % RIG_MAILBOXES);
        if (n == 0) {
            process = at;
            memcpy(a, user, sizeof a);
        }
        if (at != process || n++ == MAILBOX_WINDOW)
            continue;
        add(r, user);
    }
    deliver_rig_turn(r);
    for (int i = 0; i < 2 * MAILBOX_WINDOW; i++)
        add(r, a);
    add(r, user);
    deliver_rig_turn(r);
    while ((c = deliver_rig_next(r)) != NULL)
        if (strcmp(c->key, a) == 0)
            stuck = c;
        else
            free(c);
    ck_assert_ptr_nonnull(stuck);
    deliver_rig_stand(r, stuck, MAILBOXES_STUCK_MS);
    free(stuck);
    deliver_rig_connect(r, process);
    for (n = 0; (c = deliver_rig_next(r)) != NULL; delivered(r, c)) {
        n++;
        ck_assert_str_ne(c->key, a);
    }
    ck_assert_uint_eq(n, MAILBOX_WINDOW);
    ck_assert_ptr_nonnull(strstr(deliver_rig_records(r, text), "delivered"));
    deliver_rig_close(&r);
}
END_TEST

/* The copies of several are more than a process takes. */
START_TEST(many_patient_mailboxes_have_a_window)
{
    static const char *const any[] = { "local.users=any",
                                       "local.mailbox=maildir", NULL };
    enum { BOXES = MAILBOX_WINDOW / MAILBOXES_BOX_WINDOW + 1 };
    struct deliver_rig *r = deliver_rig_open(any, "", "");
    struct rig_copy *c, *stuck;
    unsigned n = 0, process = 0;
    char user[16];

    for (int i = 0; i < BOXES; i++) {
        snprintf(user, sizeof user, "user%d", i);
        for (int k = 0; k < MAILBOXES_BOX_WINDOW; k++)
            add(r, user);
        deliver_rig_turn(r);
        for (stuck = NULL; (c = deliver_rig_next(r)) != NULL; stuck = c)
            free(stuck);
        ck_assert_ptr_nonnull(stuck);
        process = stuck->process;
        deliver_rig_stand(r, stuck, MAILBOXES_STUCK_MS);
        free(stuck);
        deliver_rig_connect(r, process);
    }
    ck_assert_uint_gt(r->d.mailbox.end[RIG_PATIENT].ncopies, MAILBOX_WINDOW);
    deliver_rig_connect(r, RIG_PATIENT);
    for (; (c = deliver_rig_next(r)) != NULL; n++)
        delivered(r, c);
    ck_assert_uint_eq(n, BOXES * MAILBOXES_BOX_WINDOW);
    ck_assert(!deliver_is_busy(&r->d));
    deliver_rig_close(&r);
}
END_TEST

START_TEST(a_silent_process_is_replaced)
{
    struct deliver_rig *r = begin(NULL);
    char text[RIG_TEXT], want[64];

    add(r, "joe");
    deliver_rig_turn(r);
    struct rig_copy *c = must_get(r);
    unsigned process = c->process;
    r->d.mailbox.end[process].heard -= MAILBOXES_SILENT_MS;
    r->d.mailbox.watch.fn(&r->d.mailbox.watch);
    free(c);
    snprintf(want, sizeof want, "%s%u", DELIVER_REPLACE, process);
    ck_assert_str_eq(deliver_rig_asked(r, text), want);
    deliver_rig_connect(r, process);
    c = must_get(r);
    ck_assert(c->r.look_first);
    delivered(r, c);
    deliver_rig_close(&r);
}
END_TEST

/* A sync that hangs blames no copy: the mail must not begin anew for ever. */
START_TEST(silence_without_an_end_puts_mail_off)
{
    struct deliver_rig *r = begin(NULL);
    struct rig_copy *c;
    char text[RIG_TEXT];
    unsigned n = 0;

    add(r, "joe");
    deliver_rig_turn(r);
    while ((c = deliver_rig_next(r)) != NULL && n++ < 10) {
        struct mailbox_end *p = &r->d.mailbox.end[c->process];
        r->progress[c->process].step = MAILBOX_SYNCING;
        p->heard -= MAILBOXES_SILENT_MS;
        r->d.mailbox.watch.fn(&r->d.mailbox.watch);
        deliver_rig_connect(r, p->number);
        free(c);
    }
    ck_assert_uint_eq(n, 5);
    ck_assert_str_eq(deliver_rig_records(r, text),
                     "local 0 <s@x.test> joe@here.test=pending:4.3.0\n");
    deliver_rig_close(&r);
}
END_TEST

/* --- start and end -------------------------------------------------------- */

START_TEST(what_a_start_finds_is_looked_for)
{
    struct deliver_rig *r = begin(NULL);
    struct rig_copy *c;

    r->d.starting = true; /* as if nothing was scanned yet */
    r->settled = false;
    add(r, "joe");
    deliver_rig_turn(r);
    c = must_get(r);
    ck_assert(c->r.look_first);
    deliver_rig_answer(r, c, MAILBOX_DEFERRED, "4.2.0 not now");
    deliver_rig_wait(r, 3600);
    c = must_get(r);
    ck_assert(c->r.look_first); /* the answer may be that of no mailbox */
    delivered(r, c);
    ck_assert(!r->d.starting);
    add(r, "joe");
    deliver_rig_turn(r);
    c = must_get(r);
    ck_assert(!c->r.look_first);
    delivered(r, c);
    deliver_rig_close(&r);
}
END_TEST

START_TEST(a_stop_begins_nothing)
{
    struct deliver_rig *r = begin(NULL);

    add(r, "joe");
    deliver_rig_turn(r);
    struct rig_copy *c = must_get(r);
    r->d.stopping = true;
    add(r, "ann");
    struct err e;
    ck_assert_int_eq(deliver_turn(&r->d, false, &e), 0);
    ck_assert_ptr_null(deliver_rig_next(r));
    ck_assert_uint_eq(r->d.mailbox.ncopies, 1);
    free(c); /* dropped by the close */
    deliver_rig_close(&r);
}
END_TEST

Suite *deliver_mailboxes_suite(void);
Suite *deliver_mailboxes_suite(void)
{
    Suite *s = suite_create("deliver.mailboxes");
    TCase *t = tcase_create("all");

    tcase_add_loop_test(t, answers_become, 0,
                        sizeof answers / sizeof answers[0]);
    tcase_add_test(t, repairs_are_held);
    tcase_add_loop_test(t, one_mailbox_has_a_window, 0,
                        sizeof windows / sizeof windows[0]);
    tcase_add_test(t, a_process_has_a_window);
    tcase_add_test(t, a_long_list_takes_turns);
    tcase_add_test(t, a_death_gives_copies_to_the_next);
    tcase_add_test(t, two_deaths_over_a_copy_put_it_off);
    tcase_add_test(t, mail_waits_for_a_process);
    tcase_add_test(t, a_stuck_mailbox_is_passed_by);
    tcase_add_test(t, a_large_copy_takes_its_time);
    tcase_add_test(t, a_patient_mailbox_is_put_off);
    tcase_add_test(t, a_line_does_not_wait_for_a_patient_mailbox);
    tcase_add_test(t, many_patient_mailboxes_have_a_window);
    tcase_add_test(t, a_silent_process_is_replaced);
    tcase_add_test(t, silence_without_an_end_puts_mail_off);
    tcase_add_test(t, what_a_start_finds_is_looked_for);
    tcase_add_test(t, a_stop_begins_nothing);
    suite_add_tcase(s, t);
    return s;
}
