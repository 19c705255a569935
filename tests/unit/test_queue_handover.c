/* test_queue_handover.c - children in the place of recipients, by an owner that
 * is played: what they take along, what of a turn fails, how a process ends. */
#include "queue/handover.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "log/log.h"
#include "queue/housekeeping.h"
#include "queue/recipients.h"
#include "queue/result.h"
#include "queue/scan.h"
#include "spool/dirs.h"
#include "spool/reader.h"
#include "spool/segments_private.h"
#include "spool/submit.h"
#include "spool/writer_private.h"
#include "spool_kit.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RCPTS = 8, DUE_MAX = 64 };

static char dir[64];
static struct conf conf;
static struct queue q;
static struct loop *loop;
static struct pool *blocks;
static struct rcpt *due[DUE_MAX];
static size_t ndue;
static struct err e;

#define OK(call) ck_assert_msg((call) == 0, "%s: %s", #call, e.text)

/* --- the owner ------------------------------------------------------------ */

static void *place(struct queue *of, struct span sender, struct span address)
{
    (void)sender;
    (void)address;
    return of;
}

static void release(struct queue *of, void *of_rcpt)
{
    (void)of;
    (void)of_rcpt;
}

static void on_due(struct queue *of, struct rcpt *r)
{
    (void)of;
    ck_assert_uint_lt(ndue, DUE_MAX);
    r->state = RCPT_OUT;
    due[ndue++] = r;
}

static void back(struct queue *of, struct delivery *j, struct delivery_rcpt *r)
{
    (void)j;
    on_due(of, r->rcpt);
}

static bool goes_on(struct queue *of, struct delivery *j,
                    struct delivery_rcpt *r)
{
    (void)of;
    (void)j;
    (void)r;
    return false;
}

static bool keep(struct queue *of, struct delivery *j, struct delivery_rcpt *r,
                 uint32_t *seconds)
{
    (void)seconds;
    return goes_on(of, j, r);
}

static bool is_local(struct queue *of, struct span address)
{
    static const char ours[] = "@here.test";
    size_t n = sizeof ours - 1;

    (void)of;
    return address.n > n && memcmp(address.p + address.n - n, ours, n) == 0;
}

static bool take(struct queue *of, struct rcpt *r)
{
    (void)of;
    (void)r;
    return false;
}

static const struct queue_owner owner = { place,    release, on_due,
                                          back,     goes_on, keep,
                                          is_local, take,    NULL };
static const struct queue_events events = { "deliver.delivered",
                                            "deliver.deferred",
                                            "deliver.bounced",
                                            "deliver.expanded" };

/* --- a life --------------------------------------------------------------- */

static void start(enum spool_name name)
{
    ndue = 0;
    q = (struct queue){
        .owner = &owner, .events = &events, .conf = &conf, .loop = loop
    };
    OK(queue_open(&q, name, &e));
    OK(queue_scan(&q, &e));
}

static void setup(void)
{
    sigset_t none;

    sigemptyset(&none);
    snprintf(dir, sizeof dir, "%s/queue-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    conf = (struct conf){
        .send = { .retry_min = 60, .retry_max = 600, .queue_lifetime = 6000 }
    };
    snprintf(conf.queue_dir, sizeof conf.queue_dir, "%s", dir);
    snprintf(conf.hostname, sizeof conf.hostname, "here.test");
    log_style(LOG_ERROR + 1, LOG_TEXT);
    OK(spool_dirs_make(dir, (uid_t)-1, (gid_t)-1, &e));
    OK(loop_new(&loop, &none, &e));
    blocks = chain_pool_new(64);
}

static void stop(void)
{
    if (q.spool != NULL)
        queue_finish(&q);
    queue_close(&q);
}

static void teardown(void)
{
    fs_replace(NULL);
    stop();
    loop_free(&loop);
    pool_free(&blocks);
    kit_remove_tree(dir);
}

/* Like kill -9, but for the marks, which are in the file: nothing is confirmed
 * or closed. */
static void die(void)
{
    free(q.handover.spool);
    q.handover.spool = NULL;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        spool_file_drop(&q.writer[i]->f);
    queue_close(&q);
}

/* --- messages ------------------------------------------------------------- */

static const char text[] = "Subject: x\r\n\r\nx\r\n";

static bool put(struct chain *env, enum spool_field type, const char *content)
{
    return spool_envelope_add(env, blocks, type, span_of(content));
}

/* From s@there.test with all fields that there are, to r0, r1 ...; only r1 has
 * ORCPT, and r2 NOTIFY. */
static struct msg_id submit(enum spool_name name, uint32_t nrcpt, uint64_t part)
{
    struct spool_writer_kind kind = { name, part == 0 ? 0 : 3, 1 << 20 };
    struct chain env = CHAIN_INIT, body = CHAIN_INIT;
    struct spool_submission m = { .part = part,
                                  .arrival = clock_wall_us() - 1000000,
                                  .nrcpt = nrcpt,
                                  .flags = SPOOL_8BIT | SPOOL_UTF8_HEADER,
                                  .envelope = &env };
    struct spool_writer *w;
    char to[32];

    OK(spool_writer_open_as(&w, dir, &kind, &e));
    ck_assert(put(&env, SPOOL_F_SENDER, "s@there.test") &&
              put(&env, SPOOL_F_SID, "sid1") &&
              put(&env, SPOOL_F_CLIENT, "192.0.2.1") &&
              put(&env, SPOOL_F_HELO, "client") &&
              put(&env, SPOOL_F_ENVID, "env") &&
              put(&env, SPOOL_F_RET, "HDRS"));
    for (uint32_t i = 0; i < nrcpt; i++) {
        snprintf(to, sizeof to, "r%u@here.test", (unsigned)i);
        ck_assert(put(&env, SPOOL_F_RCPT, to));
        if (i == 1)
            ck_assert(put(&env, SPOOL_F_ORCPT, "rfc822;o1"));
        if (i == 2)
            ck_assert(put(&env, SPOOL_F_NOTIFY, "NEVER"));
    }
    ck_assert(chain_add(&body, blocks, text, sizeof text - 1));
    struct body b = body_of_chain(&body, crc32c(0, text, sizeof text - 1));
    OK(spool_writer_new_id(w, &m.id, &e));
    OK(spool_submit(w, &m, &b, &e));
    OK(spool_writer_commit(w, &e));
    spool_writer_close(&w);
    chain_clear(&env, blocks);
    chain_clear(&body, blocks);
    return m.id;
}

/* Replace a due recipient by that address. */
static int give(size_t i, enum spool_name to, const char *address)
{
    const struct queue_target target = { .address = address,
                                         .slot = due[i]->slot & UINT16_MAX };
    const struct queue_child c = { .parent = due[i]->msg,
                                   .rcpt = due + i,
                                   .nrcpt = 1,
                                   .target = &target,
                                   .ntarget = 1,
                                   .to = to };

    return queue_hand_over(&q, &c, &e);
}

/* --- what is in both queues ----------------------------------------------- */

struct seen {
    uint64_t part;
    enum spool_name queue;
    uint64_t arrival;
    uint32_t flags, nrcpt;
    char fields[1024], body[256];
    enum spool_state state[RCPTS];
};
static struct seen seen[32];
static size_t nseen;

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct seen *s = ctx;
    size_t n = strlen(s->fields);

    if (type == SPOOL_F_REPLACES || type == SPOOL_F_TABLES)
        content.n = 0;
    snprintf(s->fields + n, sizeof s->fields - n, "%d:%.*s ", (int)type,
             (int)content.n, content.p);
    return 0;
}

static int on_record(void *ctx, const struct spool_reader *v)
{
    struct seen *s = &seen[nseen++];
    struct body_cursor c = { 0 };
    struct spool_slot slot;
    struct body body;

    (void)ctx;
    ck_assert_uint_le(nseen, sizeof seen / sizeof seen[0]);
    *s = (struct seen){ .part = v->rec->part,
                        .queue = v->queue,
                        .arrival = v->rec->arrival,
                        .flags = v->rec->flags,
                        .nrcpt = v->rec->nrcpt };
    OK(spool_reader_envelope(v, on_field, s, &e));
    OK(spool_reader_body(v, &body, &e));
    for (ssize_t n = 0, got; n < (ssize_t)sizeof s->body - 1; n += got)
        if ((got = body_next(&body, &c, s->body + n,
                             sizeof s->body - 1 - (size_t)n)) <= 0)
            break;
    for (uint32_t i = 0; i < s->nrcpt && i < RCPTS; i++) {
        OK(spool_reader_slot(v, i, &slot, &e));
        s->state[i] = slot.state;
    }
    return 0;
}

static void look(void)
{
    nseen = 0;
    OK(spool_read_all(dir, true, on_record, NULL, &e));
}

static const struct seen *find(uint64_t part, enum spool_name name)
{
    const struct seen *s = NULL;

    for (size_t i = 0; i < nseen; i++)
        if (seen[i].part == part && seen[i].queue == name &&
            (seen[i].flags & SPOOL_BOUNCE) == 0) {
            ck_assert_msg(s == NULL, "part %lu twice", (unsigned long)part);
            s = &seen[i];
        }
    return s;
}

static enum spool_state state_of(uint64_t part, enum spool_name name, int slot)
{
    look();
    const struct seen *s = find(part, name);
    ck_assert_ptr_nonnull(s);
    return s->state[slot];
}

/* --- what a child takes along --------------------------------------------- */

START_TEST(a_child_is_the_message)
{
    static const struct queue_target targets[] = {
        { .address = "joe@here.test", .mailbox = "joe", .slot = 0 },
        { .address = "a@[192.0.2.9]", .here = true, .slot = 1 },
        { .address = "b@x.test", .mailbox = "", .slot = 1 },
        { .address = "c@x.test", .slot = 2 },
        { .address = "d@x.test",
          .slot = 2,
          .orcpt = "rfc822;o2",
          .notify = "DELAY" },
    };
    struct spool_usage usage;

    submit(SPOOL_LOCAL, 4, 0);
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(ndue, 4);
    const struct queue_child c = { .parent = due[0]->msg,
                                   .rcpt = due,
                                   .nrcpt = 3,
                                   .target = targets,
                                   .ntarget = 5,
                                   .to = SPOOL_LOCAL,
                                   .front = SPAN_LIT(
                                       "Delivered-To: all@here.test\r\n") };
    ck_assert_int_eq(queue_hand_over(&q, &c, &e), 0);
    look();
    ck_assert_ptr_null(find(1, SPOOL_LOCAL)); /* not before the commit */
    queue_flush(&q);
    look();
    const struct seen *child = find(1, SPOOL_LOCAL), *parent = find(0, 0);
    ck_assert_str_eq(child->fields,
                     "1:s@there.test 3:sid1 4:192.0.2.1 5:client 16:env "
                     "17:HDRS 2:joe@here.test 8:joe 2:a@[192.0.2.9] 7: "
                     "18:rfc822;o1 2:b@x.test 18:rfc822;o1 2:c@x.test "
                     "19:NEVER 2:d@x.test 18:rfc822;o2 19:DELAY 6: ");
    ck_assert_str_eq(child->body, "Delivered-To: all@here.test\r\n"
                                  "Subject: x\r\n\r\nx\r\n");
    ck_assert_uint_eq(child->arrival, parent->arrival);
    ck_assert_uint_eq(child->flags, SPOOL_8BIT | SPOOL_UTF8_HEADER);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(parent->state[i],
                         i < 3 ? SPOOL_EXPANDED : SPOOL_PENDING);
    ck_assert_uint_eq(q.memory.pending, 1);
    ck_assert(q.scan.wanted);
    OK(queue_scan(&q, &e));
    ck_assert_uint_eq(q.memory.pending, 6);
    spool_queue_usage(q.spool, &usage);
    ck_assert_uint_eq(usage.messages, 2);
}
END_TEST

/* RFC 3461 5.2.7.1; and its child lies in the other queue. */
START_TEST(a_list_drops_what_its_sender_asked_for)
{
    static const struct queue_target targets[] = {
        { .address = "b@x.test", .slot = 1 },
        { .address = "c@x.test", .slot = 2 },
    };

    submit(SPOOL_LOCAL, 3, 0);
    start(SPOOL_LOCAL);
    const struct queue_child c = { .parent = due[0]->msg,
                                   .rcpt = due + 1,
                                   .nrcpt = 2,
                                   .target = targets,
                                   .ntarget = 2,
                                   .to = SPOOL_REMOTE,
                                   .reverse_path = "owner-all@here.test" };
    ck_assert_int_eq(queue_hand_over(&q, &c, &e), 0);
    queue_flush(&q);
    look();
    ck_assert_str_eq(find(2, SPOOL_REMOTE)->fields,
                     "1:owner-all@here.test 9: 3:sid1 4:192.0.2.1 5:client "
                     "2:b@x.test 2:c@x.test 6: ");
    ck_assert_str_eq(find(2, SPOOL_REMOTE)->body, text);
    ck_assert(!q.scan.wanted);
}
END_TEST

START_TEST(the_last_level_stays_with_the_owner)
{
    submit(SPOOL_LOCAL, 1, 0x4000300020001);
    start(SPOOL_LOCAL);
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 1);
    ck_assert_int_eq(due[0]->state, RCPT_OUT);
    queue_flush(&q);
    ck_assert_uint_eq(q.memory.pending, 1);
}
END_TEST

static void rot(void)
{
    char path[SPOOL_PATH];
    struct spool_message *m = &due[0]->msg->stored;

    spool_path(path, q.writer[SPOOL_LOCAL]->dir, m->rec.segment, SPOOL_SEG);
    FILE *f = fopen(path, "r+");
    ck_assert_ptr_nonnull(f);
    fseek(f, (long)(m->at + spool_body_at(&m->rec)), SEEK_SET);
    fputc('?', f);
    fclose(f);
}

START_TEST(a_damaged_message_stays_with_the_owner)
{
    submit(SPOOL_LOCAL, 1, 0);
    start(SPOOL_LOCAL);
    rot();
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
    queue_flush(&q);
    look();
    ck_assert_uint_eq(nseen, 1);
}
END_TEST

/* --- a turn --------------------------------------------------------------- */

static unsigned syncs, marks;
static int failing_fd; /* -1: none */
static int failures;   /* so many of its syncs fail */
static bool no_marks;

static int some_sync(int fd, int (*real)(int fd))
{
    syncs++;
    if (fd != failing_fd || failures == 0)
        return real(fd);
    failures--;
    errno = EIO;
    return -1;
}

static int on_fdatasync(int fd)
{
    return some_sync(fd, fs_system.fdatasync);
}

static int on_fsync(int fd)
{
    return some_sync(fd, fs_system.fsync);
}

static ssize_t on_write(int fd, const struct iovec *v, int n, off_t at)
{
    bool is_mark = n == 1 && v[0].iov_len == SPOOL_SLOT;

    marks += is_mark;
    if (!is_mark || !no_marks)
        return fs_system.pwritev(fd, v, n, at);
    errno = EIO;
    return -1;
}

static void watch(void)
{
    static struct fs_ops ops;

    ops = fs_system;
    ops.fdatasync = on_fdatasync;
    ops.fsync = on_fsync;
    ops.pwritev = on_write;
    syncs = marks = 0;
    failing_fd = -1;
    no_marks = false;
    fs_replace(&ops);
}

/* So that each queue has a segment of ours. */
static void hand_over_first(void)
{
    ck_assert_int_eq(give(0, SPOOL_LOCAL, "away@x.test"), 0);
    ck_assert_int_eq(give(1, SPOOL_REMOTE, "first@x.test"), 0);
    queue_flush(&q);
    OK(queue_confirm(&q, &e));
}

/* Children of several messages, in both queues. */
START_TEST(a_turn_has_one_sync_a_queue)
{
    submit(SPOOL_LOCAL, 2, 0);
    submit(SPOOL_LOCAL, 2, 0x10001); /* another message; no parent is there */
    submit(SPOOL_LOCAL, 1, 0x20001);
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(ndue, 5);
    hand_over_first();
    watch();
    for (size_t i = 2; i < 5; i++)
        ck_assert_int_eq(
            give(i, i < 4 ? SPOOL_REMOTE : SPOOL_LOCAL, "more@x.test"), 0);
    ck_assert_uint_eq(syncs + marks, 0);
    queue_flush(&q);
    ck_assert_uint_eq(syncs, 2);
    ck_assert_uint_eq(marks, 3);
    ck_assert_uint_eq(q.handover.unconfirmed, 3);
    OK(queue_confirm(&q, &e));
    ck_assert_uint_eq(q.handover.unconfirmed, 0);
    ck_assert_uint_eq(q.memory.pending, 0);
}
END_TEST

START_TEST(a_queue_that_fails_is_tried_again)
{
    submit(SPOOL_LOCAL, 4, 0);
    start(SPOOL_LOCAL);
    hand_over_first();
    watch();
    failing_fd = q.writer[SPOOL_REMOTE]->f.fd;
    failures = 1;
    struct rcpt *fails = due[2];
    for (uint16_t i = 2; i < 4; i++)
        ck_assert_int_eq(
            give(i, i == 2 ? SPOOL_REMOTE : SPOOL_LOCAL, "a@x.test"), 0);
    queue_flush(&q);
    ck_assert_int_eq(state_of(0, SPOOL_LOCAL, 2), SPOOL_PENDING);
    ck_assert_int_eq(state_of(0, SPOOL_LOCAL, 3), SPOOL_EXPANDED);
    ck_assert_int_eq(fails->state, RCPT_WAITS);
    ck_assert(!queue_is_lost(&q, &e));
    struct list again, *l;
    list_init(&again);
    retry_queue_flush(&q.memory.retry, &again);
    while ((l = list_pop(&again)) != NULL)
        due[2] = LIST_ENTRY(l, struct rcpt, link);
    ck_assert_ptr_eq(due[2], fails);
    ck_assert_int_eq(give(2, SPOOL_REMOTE, "a@x.test"), 0);
    queue_flush(&q);
    look();
    ck_assert_ptr_nonnull(find(3, SPOOL_REMOTE));
    ck_assert_uint_eq(q.memory.pending, 0);
}
END_TEST

/* The child may be delivered already: until the marks are there its recipients
 * are not tried, and nothing else is handed over. */
START_TEST(marks_that_fail_hold_up_the_next_step)
{
    submit(SPOOL_LOCAL, 2, 0);
    start(SPOOL_LOCAL);
    watch();
    no_marks = true;
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 0);
    queue_flush(&q);
    ck_assert_int_eq(state_of(0, SPOOL_LOCAL, 0), SPOOL_PENDING);
    ck_assert_int_eq(due[0]->state, RCPT_SETTLES);
    ck_assert_int_eq(give(1, SPOOL_REMOTE, "away@x.test"), -1);
    ck_assert_int_eq(due[1]->state, RCPT_OUT);
    ck_assert_int_eq(queue_confirm(&q, &e), -1);
    queue_flush(&q);
    no_marks = false;
    OK(queue_confirm(&q, &e));
    ck_assert_int_eq(state_of(0, SPOOL_LOCAL, 0), SPOOL_EXPANDED);
    ck_assert_uint_eq(q.memory.pending, 1);
}
END_TEST

/* What is not confirmed is bounded, and confirmed in time. */
START_TEST(many_children)
{
    struct housekeeping keeping = { .scanned = loop_now(loop),
                                    .synced = loop_now(loop) };

    submit(SPOOL_LOCAL, 2, 0);
    start(SPOOL_LOCAL);
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 0);
    queue_flush(&q);
    q.scan.wanted = false;
    OK(housekeeping_run(&keeping, &q, &e));
    ck_assert_uint_eq(q.handover.unconfirmed, 1);
    q.handover.unconfirmed = SPOOL_UNCONFIRMED_MAX / 4 * 3;
    ck_assert_uint_eq(housekeeping_wait(&keeping, &q), 0);
    OK(housekeeping_run(&keeping, &q, &e));
    ck_assert_uint_eq(q.handover.unconfirmed, 0);
    q.handover.unconfirmed = SPOOL_UNCONFIRMED_MAX;
    ck_assert_int_eq(give(1, SPOOL_REMOTE, "away@x.test"), 0);
    ck_assert_uint_eq(q.handover.unconfirmed, 0);
}
END_TEST

/* --- notices -------------------------------------------------------------- */

/* For r, with that answer. */
static struct delivery *delivery_for(struct rcpt *r, const char *sender,
                                     enum outcome outcome)
{
    struct delivery *j = calloc(1, sizeof *j + sizeof *j->rcpt);

    ck_assert_ptr_nonnull(j);
    j->rcpt = (struct delivery_rcpt *)(void *)(j + 1);
    j->nrcpt = 1;
    j->msg = r->msg;
    j->id = r->msg->stored.rec.id;
    j->arrival = r->msg->stored.rec.arrival;
    j->sender = sender;
    j->local = true;
    j->rcpt[0].rcpt = r;
    j->rcpt[0].address = "r@here.test";
    answer_set(&j->rcpt[0].answer, outcome, "5.1.1", "unknown user");
    OK(spool_message_pin(q.spool, &r->msg->stored, &j->body, &e));
    j->pinned = r->msg->stored.segment;
    return j;
}

static size_t count_notices(enum spool_name name)
{
    size_t n = 0;

    look();
    for (size_t i = 0; i < nseen; i++)
        n += seen[i].queue == name && (seen[i].flags & SPOOL_BOUNCE) != 0;
    return n;
}

/* In one turn with a child, and in the queue of the sender. */
START_TEST(a_notice_goes_to_its_senders_queue)
{
    static const char *const senders[] = { "s@here.test", "s@there.test" };

    submit(SPOOL_LOCAL, 5, 0);
    start(SPOOL_LOCAL);
    hand_over_first();
    watch();
    ck_assert_int_eq(give(3, SPOOL_REMOTE, "a@x.test"), 0);
    result_apply(&q, delivery_for(due[2], senders[_i], OUTCOME_FAILED));
    queue_flush(&q);
    ck_assert_uint_eq(syncs, _i == 0 ? 2 : 1);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), _i == 0 ? 1 : 0);
    ck_assert_uint_eq(count_notices(SPOOL_REMOTE), _i == 0 ? 0 : 1);
    ck_assert_int_eq(find(0, SPOOL_LOCAL)->state[2], SPOOL_FAILED);
    ck_assert_int_eq(find(0, SPOOL_LOCAL)->state[3], SPOOL_EXPANDED);
    ck_assert_uint_eq(q.memory.pending, 1);
}
END_TEST

/* A queue that fails takes with it what is for that queue alone. */
START_TEST(a_notice_fails_with_its_queue)
{
    submit(SPOOL_LOCAL, 5, 0);
    start(SPOOL_LOCAL);
    hand_over_first();
    watch();
    failing_fd = q.writer[_i == 0 ? SPOOL_LOCAL : SPOOL_REMOTE]->f.fd;
    failures = 1;
    ck_assert_int_eq(give(3, SPOOL_REMOTE, "a@x.test"), 0);
    result_apply(&q, delivery_for(due[2], "s@here.test", OUTCOME_FAILED));
    queue_flush(&q);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), _i == 0 ? 0 : 1);
    ck_assert_int_eq(find(0, SPOOL_LOCAL)->state[2],
                     _i == 0 ? SPOOL_PENDING : SPOOL_FAILED);
    ck_assert_int_eq(find(0, SPOOL_LOCAL)->state[3],
                     _i == 0 ? SPOOL_EXPANDED : SPOOL_PENDING);
    ck_assert_uint_eq(q.memory.pending, 2);
}
END_TEST

/* RFC 3461: the copy is made, and its sender asked for a report. */
START_TEST(a_report_of_success_is_written_again)
{
    submit(SPOOL_LOCAL, 3, 0);
    start(SPOOL_LOCAL);
    hand_over_first();
    watch();
    failing_fd = q.writer[SPOOL_LOCAL]->f.fd;
    failures = 1;
    struct delivery *j = delivery_for(due[2], "s@here.test", OUTCOME_DELIVERED);
    j->rcpt[0].notify = "SUCCESS";
    result_apply(&q, j);
    queue_flush(&q);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), 0);
    ck_assert_int_eq(find(0, SPOOL_LOCAL)->state[2], SPOOL_DELIVERED);
    queue_flush(&q);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), 0); /* not yet */
    ck_assert_int_eq(due[2]->state, RCPT_SETTLES); /* and its message stays */
    if (_i == 0)
        q.notice.again = queue_seconds(&q);
    else
        queue_finish(&q);
    queue_flush(&q);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), 1);
    ck_assert_uint_eq(q.memory.pending, 0);
}
END_TEST

START_TEST(marks_that_fail_hold_up_notices)
{
    submit(SPOOL_LOCAL, 2, 0);
    start(SPOOL_LOCAL);
    watch();
    no_marks = true;
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 0);
    queue_flush(&q);
    result_apply(&q, delivery_for(due[1], "s@here.test", OUTCOME_FAILED));
    queue_flush(&q);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), 0);
    no_marks = false;
    queue_flush(&q);
    ck_assert_uint_eq(count_notices(SPOOL_LOCAL), 1);
    ck_assert_uint_eq(q.memory.pending, 0);
}
END_TEST

/* Each is freed when it ends, and the message after the last. */
START_TEST(recipients_end_in_any_order)
{
    static const int orders[][3] = {
        { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
        { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
    };
    struct spool_usage usage;

    submit(SPOOL_LOCAL, 3, 0);
    start(SPOOL_LOCAL);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(pool_used(q.memory.rcpts), 3 - i);
        result_apply(&q, delivery_for(due[orders[_i][i]], "s@here.test",
                                      OUTCOME_DELIVERED));
    }
    ck_assert_uint_eq(pool_used(q.memory.rcpts), 0);
    spool_queue_usage(q.spool, &usage);
    ck_assert_uint_eq(usage.messages, 0);
}
END_TEST

/* --- the end -------------------------------------------------------------- */

/* Neither the turn nor its cut could be synced. */
START_TEST(a_lost_process_ends_and_the_start_decides)
{
    struct housekeeping keeping = { 0 };

    submit(SPOOL_LOCAL, 4, 0);
    start(SPOOL_LOCAL);
    hand_over_first();
    watch();
    failing_fd = q.writer[SPOOL_REMOTE]->f.fd;
    failures = 2;
    ck_assert_int_eq(give(2, SPOOL_REMOTE, "a@x.test"), 0);
    queue_flush(&q);
    ck_assert(queue_is_lost(&q, &e));
    ck_assert_int_eq(housekeeping_run(&keeping, &q, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "next start"));
    ck_assert_int_eq(give(3, SPOOL_LOCAL, "b@x.test"), -1);
    stop();
    fs_replace(NULL);
    start(SPOOL_LOCAL);
    ck_assert_int_eq(state_of(0, SPOOL_LOCAL, 2), SPOOL_PENDING);
    ck_assert_ptr_null(find(3, SPOOL_REMOTE));
}
END_TEST

START_TEST(a_sync_of_marks_that_fails_ends_the_process)
{
    struct housekeeping keeping = { 0 };

    submit(SPOOL_LOCAL, 2, 0);
    start(SPOOL_LOCAL);
    struct spool_message *parent = &due[0]->msg->stored;
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 0);
    watch();
    failing_fd = parent->segment->fd;
    failures = 1;
    queue_flush(&q);
    ck_assert_int_eq(housekeeping_run(&keeping, &q, &e), -1);
    die();
    fs_replace(NULL);
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(ndue, 1);
    ck_assert_int_eq(state_of(0, SPOOL_LOCAL, 0), SPOOL_EXPANDED);
}
END_TEST

/* Confirmed at the close: the next start has nothing to mark.  Killed before
 * it, the start marks again. */
START_TEST(a_close_confirms)
{
    submit(SPOOL_LOCAL, 2, 0);
    start(SPOOL_LOCAL);
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 0);
    queue_flush(&q);
    if (_i == 0)
        stop();
    else if (_i == 1)
        queue_close(&q);
    else
        die();
    watch();
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(marks, _i == 2 ? 1 : 0);
    ck_assert_uint_eq(ndue, 1);
}
END_TEST

/* Without a commit it never was. */
START_TEST(a_turn_that_is_not_committed_is_forgotten)
{
    submit(SPOOL_LOCAL, 1, 0);
    start(SPOOL_LOCAL);
    ck_assert_int_eq(give(0, SPOOL_REMOTE, "away@x.test"), 0);
    queue_close(&q);
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(ndue, 1);
    look();
    ck_assert_uint_eq(nseen, 1);
}
END_TEST

/* --- the other queue ------------------------------------------------------ */

static struct span tables_at(unsigned char out[8], uint64_t us)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(us >> 8 * i);
    return (struct span){ (char *)out, 8 };
}

START_TEST(older_tables_hand_nothing_back)
{
    unsigned char field[8];

    start(SPOOL_LOCAL);
    uint64_t ours = q.handover.tables;
    ck_assert(queue_may_hand_over(&q, SPAN_LIT("")));
    ck_assert(queue_may_hand_over(&q, tables_at(field, ours - 1)));
    ck_assert(!queue_may_hand_over(&q, tables_at(field, ours)));
    ck_assert(!queue_may_hand_over(&q, tables_at(field, ours + 1)));
    /* the clock was set back since */
    ck_assert(queue_may_hand_over(&q, tables_at(field, UINT64_MAX)));
    while (clock_wall_us() <= ours + 1)
        ;
    queue_tables_renewed(&q);
    ck_assert(queue_may_hand_over(&q, tables_at(field, ours + 1)));
}
END_TEST

Suite *queue_handover_suite(void);
Suite *queue_handover_suite(void)
{
    Suite *s = suite_create("queue.handover");
    TCase *t = tcase_create("step");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_child_is_the_message);
    tcase_add_test(t, a_list_drops_what_its_sender_asked_for);
    tcase_add_test(t, the_last_level_stays_with_the_owner);
    tcase_add_test(t, a_damaged_message_stays_with_the_owner);
    tcase_add_test(t, a_turn_has_one_sync_a_queue);
    tcase_add_test(t, a_queue_that_fails_is_tried_again);
    tcase_add_test(t, marks_that_fail_hold_up_the_next_step);
    tcase_add_test(t, many_children);
    tcase_add_loop_test(t, a_notice_goes_to_its_senders_queue, 0, 2);
    tcase_add_loop_test(t, a_notice_fails_with_its_queue, 0, 2);
    tcase_add_loop_test(t, a_report_of_success_is_written_again, 0, 2);
    tcase_add_test(t, marks_that_fail_hold_up_notices);
    tcase_add_loop_test(t, recipients_end_in_any_order, 0, 6);
    tcase_add_test(t, a_lost_process_ends_and_the_start_decides);
    tcase_add_test(t, a_sync_of_marks_that_fails_ends_the_process);
    tcase_add_loop_test(t, a_close_confirms, 0, 3);
    tcase_add_test(t, a_turn_that_is_not_committed_is_forgotten);
    tcase_add_test(t, older_tables_hand_nothing_back);
    suite_add_tcase(s, t);
    return s;
}
