/* test_queue_operate.c - which recipients an operation is for, and a message so
 * long that it takes several pieces. */
#include "queue/operate.h"

#include "base/body.h"
#include "base/fs.h"
#include "base/os.h"
#include "queue/counters.h"
#include "queue/handover.h"
#include "queue/recipients.h"
#include "queue/scan.h"
#include "spool/dirs.h"
#include "spool/submit.h"
#include "spool_kit.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the command --------------------------------------------------------- */

static const struct {
    const char *command, *error; /* NULL: it is one */
    enum queue_verb verb;
    bool dry;
    unsigned nids;
    const char *domain, *sender;
} commands[] = {
    { "hold all", NULL, QUEUE_HOLD, false, 0, "", "" },
    { "release all dry-run", NULL, QUEUE_RELEASE, true, 0, "", "" },
    { "delete dry-run id 0123456789abcdef,0123456789abcdeg", NULL, QUEUE_DELETE,
      true, 2, "", "" },
    { "retry domain x.test sender a@b.test", NULL, QUEUE_RETRY, false, 0,
      "x.test", "a@b.test" },
    { "flush sender \"a b\\\" c\"@b.test domain x", NULL, QUEUE_FLUSH, false, 0,
      "x", "\"a b\\\" c\"@b.test" },
    { "hold", "'hold' needs all, id, domain or sender", QUEUE_HOLD, false, 0,
      NULL, NULL },
    { "hold dry-run", "'hold' needs all, id, domain or sender", QUEUE_HOLD,
      false, 0, NULL, NULL },
    { "hold id", "'id' needs a value", QUEUE_HOLD, false, 0, NULL, NULL },
    { "hold id 0123", "'0123' is not a message id", QUEUE_HOLD, false, 0, NULL,
      NULL },
    { "hold id 0123456789abcdef,x", "'x' is not a message id", QUEUE_HOLD,
      false, 0, NULL, NULL },
    { "hold what", "'what' needs a value", QUEUE_HOLD, false, 0, NULL, NULL },
    { "hold what ever", "'what' is none of dry-run, all, id, domain or sender",
      QUEUE_HOLD, false, 0, NULL, NULL },
};

START_TEST(commands_are_read)
{
    struct queue_operation op;
    struct err e;

    int rc = operate_parse(&op, commands[_i].command, &e);
    if (commands[_i].error != NULL) {
        ck_assert_int_eq(rc, -1);
        ck_assert_str_eq(e.text, commands[_i].error);
        return;
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(op.verb, commands[_i].verb);
    ck_assert_int_eq(op.dry, commands[_i].dry);
    ck_assert_uint_eq(op.select.nids, commands[_i].nids);
    ck_assert(span_is(op.select.domain, commands[_i].domain));
    ck_assert(span_is(op.select.sender, commands[_i].sender));
}
END_TEST

START_TEST(other_commands)
{
    struct queue_operation op;
    struct err e;
    char many[QUEUE_OPERATION_TEXT * 2] = "hold id ";

    ck_assert_int_eq(operate_parse(&op, "list", &e), 1);
    ck_assert_int_eq(operate_parse(&op, "", &e), 1);
    ck_assert_int_eq(operate_parse(&op, "holding all", &e), 1);
    for (int i = 0; i < QUEUE_SELECT_IDS + 1; i++)
        strncat(many, "0123456789abcdef,", 18);
    ck_assert_int_eq(operate_parse(&op, many, &e), -1);
    ck_assert_str_eq(e.text, "more than 24 ids");
    memset(many + 8, 'x', sizeof many - 9);
    ck_assert_int_eq(operate_parse(&op, many, &e), -1);
}
END_TEST

/* --- what is chosen ------------------------------------------------------ */

START_TEST(domains_and_senders)
{
    static const struct {
        const char *wanted, *address;
        bool domain, sender;
    } t[] = {
        { "x.test", "a@X.TEST", true, false },
        { "x.test", "a@y.x.test", false, false },
        { ".x.test", "a@y.x.test", true, false },
        { ".x.test", "a@x.test", false, false },
        { "x.test", "a", false, false },
        { "x", "\"a@x\"@y", false, false },
        { "a@b.test", "A@b.test", false, true },
        { "<a@b.test>", "a@b.test", false, true },
        { "@b.test", "q@b.test", false, true },
        { "@.b.test", "q@c.b.test", false, true },
        { "<>", "", false, true },
        { "<>", "a@b.test", false, false },
        { "@", "a@b.test", false, false },
    };

    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct queue_select d = { .domain = span_of(t[i].wanted) },
                            s = { .sender = span_of(t[i].wanted) };
        ck_assert_msg(queue_select_address(&d, span_of(t[i].address)) ==
                          t[i].domain,
                      "%s %s", t[i].wanted, t[i].address);
        ck_assert_msg(queue_select_sender(&s, span_of(t[i].address)) ==
                          t[i].sender,
                      "%s %s", t[i].wanted, t[i].address);
    }
}
END_TEST

/* --- a queue ------------------------------------------------------------- */

static struct kit *k;
static struct conf conf;
static struct queue q;
static struct list due_now;

static void *place(struct queue *of, struct span sender, struct span address)
{
    (void)sender;
    (void)address;
    return of;
}

static void release(struct queue *of, void *what)
{
    (void)of;
    (void)what;
}

static void on_due(struct queue *of, struct rcpt *r)
{
    (void)of;
    r->state = RCPT_DUE;
    list_push(&due_now, &r->link);
}

static bool take(struct queue *of, struct rcpt *r)
{
    (void)of;
    list_remove(&r->link);
    return true;
}

static const struct queue_owner owner = {
    .place = place, .release = release, .due = on_due, .take = take
};
static const struct queue_events events = { "", "", "", "" };

static void submit(uint32_t nrcpt, const char *domain)
{
    struct chain env = CHAIN_INIT, text = CHAIN_INIT;
    struct body body = body_of_chain(&text, 0);
    struct spool_submission m = { .arrival = 1700000000000000u,
                                  .nrcpt = nrcpt,
                                  .envelope = &env };
    struct err e;
    char address[64];

    ck_assert_int_eq(spool_writer_new_id(k->w, &m.id, &e), 0);
    ck_assert(spool_envelope_add(&env, k->blocks, SPOOL_F_SENDER,
                                 span_of("s@a.test")));
    for (uint32_t i = 0; i < nrcpt; i++) {
        snprintf(address, sizeof address, "u%u@%s", i,
                 i % 2 == 0 ? domain : "odd.test");
        ck_assert(spool_envelope_add(&env, k->blocks, SPOOL_F_RCPT,
                                     span_of(address)));
    }
    ck_assert_int_eq(spool_submit(k->w, &m, &body, &e), 0);
    ck_assert_int_eq(spool_writer_commit(k->w, &e), 0);
    chain_clear(&env, k->blocks);
}

static void open_queue(void)
{
    struct err e;

    list_init(&due_now);
    snprintf(conf.queue_dir, sizeof conf.queue_dir, "%s", k->dir);
    q = (struct queue){ .owner = &owner, .events = &events, .conf = &conf };
    ck_assert_int_eq(loop_new(&q.loop, NULL, &e), 0);
    ck_assert_msg(queue_open(&q, SPOOL_REMOTE, &e) == 0, "%s", e.text);
    ck_assert_int_eq(queue_scan(&q, &e), 0);
}

static void close_queue(void)
{
    queue_finish(&q);
    queue_close(&q);
    loop_free(&q.loop);
}

static void setup(void)
{
    struct err e;

    k = kit_new(NULL);
    conf.send.retry_min = 300;
    conf.send.retry_max = 14400;
    conf.send.queue_lifetime = 432000;
    ck_assert_int_eq(spool_writer_open(&k->w, k->dir, SPOOL_REMOTE, &e), 0);
}

static void teardown(void)
{
    kit_free(&k);
}

static void operate(const char *command, uint64_t rcpts, uint64_t messages)
{
    struct queue_operation op;
    struct err e;

    ck_assert_int_eq(operate_parse(&op, command, &e), 0);
    while (operate_piece(&q, &op))
        continue;
    operate_end(&q, &op);
    ck_assert_msg(op.rcpts == rcpts && op.messages == messages, "%s: %u of %u",
                  command, (unsigned)op.rcpts, (unsigned)op.messages);
}

enum {
    LONG = 5000,
    LOOK = 1024 /* recipients between two looks at the clock */
};

START_TEST(a_long_message_in_pieces)
{
    submit(LONG, "even.test");
    submit(3, "even.test");
    open_queue();
    ck_assert_uint_eq(q.memory.pending, LONG + 3);
    operate("hold all", LONG + 3, 2);
    ck_assert_uint_eq(q.memory.pending, 0);
    ck_assert(list_empty(&due_now));
    operate("hold all", 0, 0);
    operate("release domain even.test", LONG / 2 + 2, 2);
    ck_assert_uint_eq(q.memory.pending, LONG / 2 + 2);
    close_queue();
    open_queue(); /* as it was */
    ck_assert_uint_eq(q.memory.pending, LONG / 2 + 2);
    operate("retry all", LONG / 2 + 2, 2);
    operate("delete domain odd.test dry-run", LONG / 2 + 1, 2);
    operate("delete domain odd.test", LONG / 2 + 1, 2);
    operate("delete all", LONG / 2 + 2, 2);
    struct spool_usage u;
    spool_queue_usage(q.spool, &u);
    ck_assert_uint_eq(u.messages, 0);
    ck_assert_uint_eq(q.memory.pending, 0);
    close_queue();
}
END_TEST

/* So slow that each look is a piece. */
static ssize_t write_slowly(int fd, const struct iovec *v, int n, off_t at)
{
    os_pause(10);
    return fs_system.pwritev(fd, v, n, at);
}

/* The first two pieces, which end within the first message. */
static void begin_slowly(struct queue_operation *op, const char *command)
{
    struct fs_ops ops = fs_system;
    struct err e;

    ck_assert_int_eq(operate_parse(op, command, &e), 0);
    ops.pwritev = write_slowly;
    fs_replace(&ops);
    ck_assert(operate_piece(&q, op)); /* asks for a scan */
    ck_assert(operate_piece(&q, op));
    fs_replace(NULL);
    ck_assert_uint_eq(op->slot, LOOK);
}

/* The next one is looked at from its first recipient on. */
START_TEST(a_message_leaves_between_two_pieces)
{
    struct queue_operation op;

    submit(LONG, "even.test");
    submit(2000, "x.test");
    open_queue();
    begin_slowly(&op, "hold domain even.test");
    operate("delete domain even.test", LONG / 2, 1);
    operate("delete domain odd.test", LONG / 2 + 1000, 2);
    operate("hold domain x.test", 1000, 1);
    operate("release domain x.test", 1000, 1);
    while (operate_piece(&q, &op))
        continue;
    operate_end(&q, &op);
    ck_assert_uint_eq(op.rcpts, LOOK / 2);
    ck_assert_uint_eq(op.messages, 1);
    close_queue();
}
END_TEST

/* Its client has gone: what is done is counted, and stays. */
START_TEST(an_operation_is_broken_off)
{
    struct queue_operation op;

    submit(LONG, "even.test");
    submit(3, "even.test");
    open_queue();
    begin_slowly(&op, "hold all");
    operate_end(&q, &op);
    ck_assert_uint_eq(op.rcpts, LOOK);
    ck_assert_uint_eq(op.messages, 1);
    ck_assert_uint_eq(q.memory.pending, LONG + 3 - LOOK);
    operate("hold all", LONG + 3 - LOOK, 2);
    begin_slowly(&op, "delete all");
    operate_end(&q, &op);
    operate("delete all", LONG + 3 - LOOK, 2);
    struct spool_usage u;
    spool_queue_usage(q.spool, &u);
    ck_assert_uint_eq(u.messages, 0);
    ck_assert_uint_eq(q.memory.pending, 0);
    close_queue();
}
END_TEST

/* A session has it: it is in no list. */
static struct rcpt *in_hand(void)
{
    struct rcpt *r = LIST_ENTRY(due_now.next, struct rcpt, link);

    list_remove(&r->link);
    r->state = RCPT_OUT;
    return r;
}

static enum spool_state state_of(const struct rcpt *r)
{
    struct spool_slot slot;
    struct err e;

    ck_assert_int_eq(
        spool_slot_get(q.spool, &r->msg->stored, r->slot, &slot, &e), 0);
    return slot.state;
}

START_TEST(what_is_in_hand)
{
    submit(1, "x.test");
    open_queue();
    struct rcpt *r = in_hand();
    operate("hold all", 1, 1);
    ck_assert_int_eq(r->state, RCPT_OUT);
    ck_assert_int_eq(state_of(r), SPOOL_HELD);
    rcpt_later(&q, r, 10); /* deferred */
    ck_assert_int_eq(r->state, RCPT_HELD);
    ck_assert_uint_eq(q.memory.pending, 0);
    operate("release all", 1, 1);
    ck_assert_ptr_eq(in_hand(), r);
    operate("hold all", 1, 1);
    operate("release all", 1, 1);
    rcpt_later(&q, r, 10);
    ck_assert_int_eq(r->state, RCPT_WAITS);
    operate("retry all", 1, 1);
    ck_assert_ptr_eq(in_hand(), r);
    operate("delete all", 1, 1);
    operate("delete all", 0, 0);
    ck_assert_int_eq(state_of(r), SPOOL_DELETED);
    rcpt_later(&q, r, 10);
    queue_flush(&q); /* sweeps */
    struct spool_usage u;
    spool_queue_usage(q.spool, &u);
    ck_assert_uint_eq(u.messages, 0);
    ck_assert_uint_eq(q.memory.pending, 0);
    close_queue();
}
END_TEST

static int writes_left, why;

static ssize_t refuse(int fd, const struct iovec *v, int n, off_t at)
{
    if (writes_left-- > 0)
        return fs_system.pwritev(fd, v, n, at);
    errno = why;
    return -1;
}

static const int faults[] = { EIO, ENOSPC, EDQUOT };

/* What the disk does not take is not so in memory, and is reported. */
START_TEST(a_disk_that_fails)
{
    struct fs_ops ops = fs_system;
    struct queue_operation op;
    char memory[4096];
    struct buf b = BUF_ON(memory);
    struct err e;

    submit(2, "x.test");
    open_queue();
    ops.pwritev = refuse;
    writes_left = 0;
    why = faults[_i];
    fs_replace(&ops);
    operate("delete all", 0, 0);
    operate("hold all", 0, 0);
    ck_assert_int_eq(operate_parse(&op, "hold all", &e), 0);
    while (operate_answer(&q, &op, &b) > 0)
        continue;
    operate_end(&q, &op);
    fs_replace(NULL);
    ck_assert_str_eq(memory, " matched 0 recipients 0 messages\n failed 2\n");
    ck_assert_uint_eq(q.memory.pending, 2);
    operate("hold all", 2, 1);
    close_queue();
}
END_TEST

/* From the third mark on; the same again does the rest. */
START_TEST(a_disk_that_fails_in_the_middle)
{
    struct fs_ops ops = fs_system;

    submit(5, "x.test");
    submit(5, "x.test");
    open_queue();
    ops.pwritev = refuse;
    writes_left = 2;
    why = faults[_i];
    fs_replace(&ops);
    operate("hold all", 2, 1);
    fs_replace(NULL);
    ck_assert_uint_eq(q.memory.pending, 8);
    operate("hold all", 8, 2);
    ck_assert_uint_eq(q.memory.pending, 0);
    close_queue();
    open_queue();
    ck_assert_uint_eq(q.memory.pending, 0);
    close_queue();
}
END_TEST

/* The message at which a walk stands goes while it stands there. */
START_TEST(a_walk_outlives_its_messages)
{
    struct spool_cursor c;

    for (int i = 0; i < 4; i++)
        submit(1, "x.test");
    open_queue();
    spool_cursor_begin(q.spool, &c);
    struct spool_message *first = spool_cursor_next(q.spool, &c);
    ck_assert_ptr_nonnull(first);
    operate("delete all", 4, 4);
    ck_assert_ptr_null(spool_cursor_next(q.spool, &c));
    spool_cursor_end(&c);
    close_queue();
}
END_TEST

/* --- counters ------------------------------------------------------------ */

static void count(struct counters *c, const char *address, int n)
{
    const struct counters_event x = { .what = COUNTERS_DEFERRED,
                                      .address = span_of(address),
                                      .sender = span_of("s@a.test") };

    while (n-- > 0)
        counters_count(c, &x);
}

static bool is_named(const struct counters *c, const char *domain)
{
    static char memory[256 * 1024];
    struct buf b = BUF_ON(memory);
    char line[64];
    unsigned at = 0;

    ck_assert(!counters_answer(c, &at, &b));
    snprintf(line, sizeof line, " %s\n", domain);
    return strstr(memory, line) != NULL;
}

START_TEST(a_busy_name_takes_the_place_of_an_idle_one)
{
    struct counters *c = counters_new();
    char address[32];

    ck_assert_ptr_nonnull(c);
    for (int i = 0; i < COUNTERS_NAMES; i++) {
        snprintf(address, sizeof address, "u@d%d.test", i);
        count(c, address, i == 7 ? 1 : 50);
    }
    ck_assert(is_named(c, "d7.test"));
    count(c, "u@rare.test", 3);
    ck_assert(!is_named(c, "rare.test"));
    count(c, "u@busy.test", 100);
    ck_assert(is_named(c, "busy.test"));
    ck_assert(!is_named(c, "d7.test"));
    ck_assert(is_named(c, "d8.test"));
    counters_free(&c);
}
END_TEST

Suite *queue_operate_suite(void);
Suite *queue_operate_suite(void)
{
    Suite *s = suite_create("queue.operate");
    TCase *t = tcase_create("all");

    tcase_add_loop_test(t, commands_are_read, 0,
                        (int)(sizeof commands / sizeof commands[0]));
    tcase_add_test(t, other_commands);
    tcase_add_test(t, domains_and_senders);
    tcase_add_test(t, a_busy_name_takes_the_place_of_an_idle_one);
    suite_add_tcase(s, t);
    t = tcase_create("queue");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_long_message_in_pieces);
    tcase_add_test(t, what_is_in_hand);
    tcase_add_test(t, a_message_leaves_between_two_pieces);
    tcase_add_test(t, an_operation_is_broken_off);
    tcase_add_loop_test(t, a_disk_that_fails, 0,
                        (int)(sizeof faults / sizeof faults[0]));
    tcase_add_loop_test(t, a_disk_that_fails_in_the_middle, 0,
                        (int)(sizeof faults / sizeof faults[0]));
    tcase_add_test(t, a_walk_outlives_its_messages);
    suite_add_tcase(s, t);
    return s;
}
