/* test_send_signing.c - the signing thread, and what it reads. */
#include "base/crc32c.h"
#include "base/line.h"
#include "sched_rig.h"
#include "send/assign.h"
#include "send/sign_thread.h"
#include "send/sign_work.h"
#include "send/signing.h"
#include "signer/signer.h"
#include "spool/format.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct conf conf;
static struct conf_dkim_key key = { .domain = "example.com", .selector = "s" };
static struct err e;

static void set_up(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    conf.dkim.keys.n = 1;
    conf.dkim.keys.item = &key;
}

/* --- what cannot be read -------------------------------------------------- */

static char text[300 * 1024];

/* A header of 300 KiB whose From field stands at the end of the file. */
static struct body long_header(int fd, struct span front)
{
    for (size_t i = 0; i < sizeof text; i += 64) {
        memset(text + i, 'x', 62);
        memcpy(text + i, "X: ", 3);
        memcpy(text + i + 62, "\r\n", 2);
    }
    memcpy(text + sizeof text - 8, "\r\n\r\nhi\r\n", 8);
    ck_assert_int_eq(write(fd, text, sizeof text), sizeof text);
    ck_assert_int_eq(write(fd, front.p, front.n), (ssize_t)front.n);
    struct body b = body_of_file(fd, 0, sizeof text + front.n,
                                 crc32c(0, text, sizeof text));
    b.front = (uint32_t)front.n;
    return b;
}

/* Not a message without From, which goes unsigned. */
START_TEST(from_that_cannot_be_read)
{
    static const unsigned char types[] = { DIGEST_KEY_RSA };
    static struct sign_kit kit = { .conf = &conf, .key_type = types };
    char path[] = "/tmp/mta-signing-XXXXXX";
    struct sign_task task = { .n = 0 };
    struct sign_work *w = calloc(1, sizeof *w);
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    task.body = long_header(fd, SPAN_LIT("From: a@example.com\r\n"));
    ck_assert_ptr_nonnull(w);
    w->task = &task;
    ck_assert_int_eq(sign_work_read(&kit, w), 0);
    if (_i == 0)
        ck_assert_int_eq(ftruncate(fd, sizeof text), 0);
    int rc;
    while ((rc = sign_work_read(&kit, w)) == 0)
        ;
    if (_i == 0) {
        ck_assert_int_eq(rc, -1);
        ck_assert_int_eq(task.why.outcome, OUTCOME_DEFERRED);
    } else {
        ck_assert_int_eq(rc, 1);
        ck_assert_uint_eq(w->nkeys, 1);
    }
    sign_work_free(&w);
    close(fd);
}
END_TEST

/* --- a channel without room ----------------------------------------------- */

static void say_hello_of(int signer, const struct conf *c)
{
    const struct signer_hello h = { .head = { .kind = SIGNER_HELLO,
                                              .n = 1,
                                              .settings = signer_settings(c) },
                                    .keys = 1,
                                    .type = { DIGEST_KEY_RSA } };

    ck_assert_int_eq(send(signer, &h, sizeof h, 0), sizeof h);
}

static void say_hello(int signer)
{
    say_hello_of(signer, &conf);
}

static struct signer_ask asked; /* the last message */

/* True: such a message came within a minute. */
static bool is_asked(int signer, enum signer_kind kind)
{
    const struct timespec while_ago = { .tv_nsec = 10000000 };

    for (int i = 0; i < 6000; i++) {
        ssize_t n = recv(signer, &asked, sizeof asked, MSG_DONTWAIT);
        if (n > 0 && asked.head.kind == kind)
            return true;
        if (n < 0)
            (void)nanosleep(&while_ago, NULL);
    }
    return false;
}

static const char mail[] = "From: a@example.com\r\n\r\nhi\r\n";
static const struct body mail_body = {
    .fd = -1, .head = mail, .nhead = sizeof mail - 1, .size = sizeof mail - 1
};

START_TEST(full_channel)
{
    const struct timespec while_ago = { .tv_nsec = 300000000 };
    const struct signer_head nothing = { .kind = SIGNER_SIGNED };
    struct sign_task task = { .body = mail_body };
    struct sign_thread *t;
    struct list back;
    bool renewed;
    int end[2];

    ck_assert_int_eq(line_pair(end, &e), 0);
    while (send(end[0], &nothing, sizeof nothing, MSG_NOSIGNAL) > 0)
        ;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(sign_thread_start(&t, &conf, end[0], &e), 0);
    say_hello(end[1]);
    sign_thread_give(t, &task);
    sign_thread_hand_over(t);
    (void)nanosleep(&while_ago, NULL);
    ck_assert(is_asked(end[1], SIGNER_SIGN));
    sign_thread_stop(t);
    sign_thread_join(t);
    list_init(&back);
    sign_thread_take(t, &back, &renewed);
    ck_assert_ptr_eq(list_pop(&back), &task.link);
    ck_assert(task.stopped);
    sign_thread_free(&t);
    close(end[0]);
    close(end[1]);
}
END_TEST

/* --- a request that is lost ----------------------------------------------- */

static void wait_for(struct sign_thread *t, struct list *back)
{
    const struct timespec while_ago = { .tv_nsec = 10000000 };
    bool renewed;

    list_init(back);
    for (int i = 0; i < 6000 && list_empty(back); i++) {
        sign_thread_take(t, back, &renewed);
        (void)nanosleep(&while_ago, NULL);
    }
}

/* Its mail waits; the signer is asked who it is, and gets the next. */
START_TEST(lost_request)
{
    struct sign_task lost = { .body = mail_body };
    struct sign_task next = { .body = mail_body };
    struct sign_thread *t;
    struct list back;
    int end[2];

    if (getenv("TEST_SHORT") != NULL)
        return; /* twelve seconds */
    ck_assert_int_eq(line_pair(end, &e), 0);
    ck_assert_int_eq(sign_thread_start(&t, &conf, end[0], &e), 0);
    ck_assert(is_asked(end[1], SIGNER_WHO));
    say_hello(end[1]);
    sign_thread_give(t, &lost);
    sign_thread_hand_over(t);
    ck_assert(is_asked(end[1], SIGNER_SIGN));
    wait_for(t, &back);
    ck_assert_ptr_eq(list_pop(&back), &lost.link);
    ck_assert(lost.why.misconfigured && !lost.stopped);
    ck_assert(is_asked(end[1], SIGNER_WHO));
    say_hello(end[1]);
    sign_thread_give(t, &next);
    sign_thread_hand_over(t);
    ck_assert(is_asked(end[1], SIGNER_SIGN));
    sign_thread_stop(t);
    sign_thread_join(t);
    wait_for(t, &back);
    ck_assert_ptr_eq(list_pop(&back), &next.link);
    sign_thread_free(&t);
    close(end[0]);
    close(end[1]);
}
END_TEST

/* --- no connection without a message to offer ----------------------------- */

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
};

static void sign(int signer)
{
    struct signer_answer a = { .head = asked.head };

    a.head.kind = SIGNER_SIGNED;
    for (uint32_t i = 0; i < asked.head.n; i++) {
        a.reply[i].ticket = asked.request[i].ticket;
        a.reply[i].signature.n = 256;
    }
    ck_assert_int_eq(send(signer, &a, sizeof a, 0), sizeof a);
}

/* What the main loop does when the signing thread wakes it. */
static void take_signed(struct sched_rig *r)
{
    struct list back, *l;

    list_init(&back);
    signing_take(&r->s, &back);
    while ((l = list_pop(&back)) != NULL)
        assign_take_back(
            &r->s, delivery_of_note(LIST_ENTRY(l, struct work_item, link)));
    sched_rig_turn(r);
}

static void wait_until_back(struct sched_rig *r)
{
    struct pollfd p = { .fd = signing_fd(&r->s), .events = POLLIN };

    signing_hand_over(&r->s);
    ck_assert_int_eq(poll(&p, 1, 60000), 1);
    take_signed(r);
}

/* 0: the signature comes; 1: it never does; 2: other mail needs none. */
START_TEST(connects_when_mail_is_signed)
{
    static const char *const settings[] = { "dkim.keys=here.test:s:/dev/null",
                                            NULL };
    struct sched_rig *r = sched_rig_open(settings);
    int end[2];

    r->mx = zone;
    r->nmx = 1;
    r->flags = SPOOL_SIGN;
    ck_assert_int_eq(line_pair(end, &e), 0);
    ck_assert_int_eq(signing_open(&r->s, end[0], &e), 0);
    say_hello_of(end[1], &r->conf);
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    signing_hand_over(&r->s);
    ck_assert(is_asked(end[1], SIGNER_SIGN));
    ck_assert_uint_eq(r->s.lane.deliveries, 1);
    ck_assert_uint_eq(r->opened, 0);
    if (_i == 0)
        sign(end[1]);
    if (_i == 1)
        signing_stop(&r->s);
    if (_i < 2)
        wait_until_back(r);
    if (_i == 2) {
        r->flags = 0;
        sched_rig_add(r, "s@here.test", "b@one.test");
        sched_rig_turn(r);
    }
    ck_assert_uint_eq(r->opened, _i != 1);
    ck_assert_uint_eq(r->s.lane.sessions, _i != 1 || r->s.lane.deliveries > 0);
    struct delivery *j = sched_rig_next(r);
    ck_assert_int_eq(j != NULL, _i != 1);
    signing_end(&r->s);
    r->s.stopping = true;
    take_signed(r);
    ck_assert_uint_eq(r->opened, _i != 1);
    sched_rig_close(&r);
    close(end[0]);
    close(end[1]);
}
END_TEST

Suite *send_signing_suite(void);
Suite *send_signing_suite(void)
{
    Suite *s = suite_create("send.signing");
    TCase *t = tcase_create("signing");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_loop_test(t, from_that_cannot_be_read, 0, 2);
    tcase_add_test(t, full_channel);
    tcase_add_test(t, lost_request);
    tcase_add_loop_test(t, connects_when_mail_is_signed, 0, 3);
    suite_add_tcase(s, t);
    return s;
}
