/* test_spool_handover.c - the bounds of the hand-over, and what of it fails. */
#include "spool_kit.h"

#include "base/fs.h"
#include "spool/handover.h"
#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/submit.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 8 };

static struct kit *k;
static struct spool_writer *w[SPOOL_QUEUES];
static struct spool_handover *h;
static struct spool_message item[ITEMS];
static size_t nitems;
static struct chain envelope;
static struct err e;

static void setup(void)
{
    k = kit_new(NULL);
    nitems = 0;
}

static void stop(void)
{
    spool_handover_close(&h);
    for (int i = 0; i < SPOOL_QUEUES; i++)
        spool_writer_close(&w[i]);
    spool_queue_close(&k->s);
    chain_clear(&envelope, k->blocks);
}

static void teardown(void)
{
    fs_replace(NULL);
    stop();
    kit_free(&k);
}

#define OK(call) ck_assert_msg((call) == 0, "%s: %s", #call, e.text)

/* --- messages ------------------------------------------------------------- */

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    return nitems < ITEMS ? &item[nitems++] : NULL;
}

static void scan(void)
{
    k->s->look = true;
    OK(spool_queue_scan(k->s, on_found, NULL, &e));
}

static struct msg_id submit_by(struct spool_writer *writer, uint32_t nrcpt,
                               uint64_t part, bool fails)
{
    struct spool_submission m = { .nrcpt = nrcpt,
                                  .part = part,
                                  .envelope = &envelope };
    struct chain text = CHAIN_INIT;
    const struct body body = body_of_chain(&text, 0);

    ck_assert(
        spool_envelope_add(&envelope, k->blocks, SPOOL_F_SENDER, span_of("x")));
    OK(spool_writer_new_id(writer, &m.id, &e));
    OK(spool_submit(writer, &m, &body, &e));
    ck_assert_int_eq(spool_writer_commit(writer, &e), fails ? -1 : 0);
    chain_clear(&envelope, k->blocks);
    return m.id;
}

/* Into its segment, which is closed; its id is returned. */
static struct msg_id submit(enum spool_name name, uint32_t nrcpt, uint64_t part)
{
    struct spool_writer_kind kind = { name, part == 0 ? 0 : 1, 1 << 16 };
    struct spool_writer *writer;

    OK(spool_writer_open_as(&writer, k->dir, &kind, &e));
    struct msg_id id = submit_by(writer, nrcpt, part, false);
    spool_writer_close(&writer);
    return id;
}

static void start(enum spool_name name)
{
    nitems = 0;
    OK(spool_queue_open(&k->s, k->dir, name, &e));
    OK(spool_handover_start(k->s, k->dir, &e));
    scan();
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        OK(spool_writer_open_parents(&w[i], k->dir, (enum spool_name)i, name,
                                     &e));
        OK(spool_writer_reserve(w[i], 0, &e)); /* a segment to be failed */
    }
    OK(spool_handover_open(&h, k->s, w, &e));
}

static int append(struct spool_child *c, const uint16_t *slots, uint32_t n)
{
    static struct chain text; /* none */
    const struct body body = body_of_chain(&text, 0);

    c->slots = slots;
    c->nslots = n;
    c->envelope = &envelope;
    c->blocks = k->blocks;
    c->m.nrcpt = 1;
    ck_assert(
        spool_envelope_add(&envelope, k->blocks, SPOOL_F_SENDER, span_of("x")));
    return spool_handover_append(h, c, &body, &e);
}

static enum spool_state state_of(const struct spool_message *m, uint32_t slot)
{
    struct spool_slot s;

    OK(spool_slot_get(k->s, m, slot, &s, &e));
    return s.state;
}

/* Like kill -9: nothing is confirmed or closed. */
static void die(void)
{
    free(h);
    h = NULL;
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        if (w[i] != NULL)
            spool_file_drop(&w[i]->f);
        spool_writer_close(&w[i]);
    }
    chain_clear(&envelope, k->blocks);
    spool_queue_close(&k->s);
}

/* --- the step ------------------------------------------------------------- */

static const uint16_t first[] = { 0 }, others[] = { 0, 2, 3, 5 };

START_TEST(a_step_marks_what_it_replaces)
{
    struct spool_child c = { .to = SPOOL_REMOTE };

    struct msg_id id = submit((enum spool_name)_i, 6, 0);
    start((enum spool_name)_i);
    ck_assert_uint_eq(nitems, 1);
    c.parent = &item[0];
    ck_assert_int_eq(append(&c, others, 4), 0);
    ck_assert_uint_eq(c.m.part, 1);
    ck_assert(msg_id_eq(c.m.id, id));
    OK(spool_handover_commit(h, &e));
    ck_assert_int_eq(state_of(&item[0], 0), SPOOL_PENDING);
    OK(spool_handover_mark(h, &e));
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_int_eq(state_of(&item[0], i),
                         i == 1 || i == 4 ? SPOOL_PENDING : SPOOL_EXPANDED);
    OK(spool_handover_confirm(h, &e));
}
END_TEST

START_TEST(there_is_no_fifth_level)
{
    static const uint64_t parts[] = { 1, 0x20001, 0x300020001,
                                      0x4000300020001 };
    struct spool_child c = { .to = SPOOL_LOCAL };

    submit(SPOOL_LOCAL, 1, parts[_i]);
    start(SPOOL_LOCAL);
    c.parent = &item[0];
    int rc = append(&c, first, 1);
    ck_assert_int_eq(rc, _i == 3 ? 1 : 0);
    ck_assert(_i < 3 || e.kind == ERR_PERM);
    ck_assert(_i == 3 || c.m.part == (parts[_i] << 16) + 1);
    OK(spool_handover_commit(h, &e));
    OK(spool_handover_mark(h, &e));
    ck_assert_int_eq(state_of(&item[0], 0),
                     _i == 3 ? SPOOL_PENDING : SPOOL_EXPANDED);
}
END_TEST

START_TEST(a_message_of_65535_recipients)
{
    static uint16_t slots[SPOOL_RCPT_MAX / 2 + 1];
    struct spool_child c = { .to = SPOOL_REMOTE };
    uint32_t n = 0;

    for (uint32_t i = 0; i < SPOOL_RCPT_MAX; i += 2)
        slots[n++] = (uint16_t)i;
    submit(SPOOL_LOCAL, SPOOL_RCPT_MAX, 0);
    start(SPOOL_LOCAL);
    c.parent = &item[0];
    ck_assert_int_eq(append(&c, slots, n), 0);
    OK(spool_handover_commit(h, &e));
    die();
    start(SPOOL_LOCAL);
    ck_assert_int_eq(state_of(&item[0], 0), SPOOL_EXPANDED);
    ck_assert_int_eq(state_of(&item[0], 1), SPOOL_PENDING);
    ck_assert_int_eq(state_of(&item[0], SPOOL_RCPT_MAX - 2), SPOOL_PENDING);
    ck_assert_int_eq(state_of(&item[0], SPOOL_RCPT_MAX - 1), SPOOL_EXPANDED);
}
END_TEST

START_TEST(so_many_may_be_unconfirmed)
{
    static struct spool_child c[SPOOL_UNCONFIRMED_MAX + 1];

    submit(SPOOL_LOCAL, 1, 0);
    start(SPOOL_LOCAL);
    for (size_t i = 0; i <= SPOOL_UNCONFIRMED_MAX; i++) {
        c[i] = (struct spool_child){ .to = SPOOL_REMOTE, .parent = &item[0] };
        chain_clear(&envelope, k->blocks);
        if (i % 16 == 15) {
            OK(spool_handover_commit(h, &e));
            OK(spool_handover_mark(h, &e));
        }
        int rc = append(&c[i], first, 1);
        ck_assert_int_eq(rc, i < SPOOL_UNCONFIRMED_MAX ? 0 : -1);
        OK(spool_handover_commit(h, &e));
        OK(spool_handover_mark(h, &e));
    }
    ck_assert_int_eq(e.kind, ERR_TEMP);
    OK(spool_handover_confirm(h, &e));
    chain_clear(&envelope, k->blocks);
    ck_assert_int_eq(append(&c[0], first, 1), 0);
}
END_TEST

START_TEST(a_turn_taken_back_marks_nothing)
{
    struct spool_child c = { .to = SPOOL_REMOTE };

    submit(SPOOL_LOCAL, 1, 0);
    start(SPOOL_LOCAL);
    c.parent = &item[0];
    ck_assert_int_eq(append(&c, first, 1), 0);
    spool_writer_rollback(w[SPOOL_REMOTE]);
    ck_assert_int_eq(spool_handover_commit(h, &e), -1);
    ck_assert(e.kind == ERR_BUG && c.failed);
    OK(spool_handover_mark(h, &e));
    ck_assert_int_eq(state_of(&item[0], 0), SPOOL_PENDING);
}
END_TEST

/* --- calls that fail ------------------------------------------------------ */

static int failing_fd; /* whose syncs fail; -1: none */
static int failures;   /* so many of them */

static int fail_sync(int fd)
{
    if (fd != failing_fd || failures == 0)
        return fs_system.fdatasync(fd);
    failures--;
    errno = EIO;
    return -1;
}

static int fail_fsync(int fd)
{
    if (fd != failing_fd || failures == 0)
        return fs_system.fsync(fd);
    failures--;
    errno = EIO;
    return -1;
}

static void fail_syncs(int fd, int n)
{
    static struct fs_ops ops;

    ops = fs_system;
    ops.fdatasync = fail_sync;
    ops.fsync = fail_fsync;
    failing_fd = fd;
    failures = n;
    fs_replace(&ops);
}

/* One queue fails: its children alone.  The cut is synced: again. */
START_TEST(a_failed_commit_is_tried_again_when_it_is_cut)
{
    static const uint16_t second[] = { 1 };
    struct spool_child a = { .to = SPOOL_REMOTE }, b = { .to = SPOOL_LOCAL };

    submit(SPOOL_LOCAL, 2, 0);
    start(SPOOL_LOCAL);
    a.parent = b.parent = &item[0];
    ck_assert_int_eq(append(&a, first, 1), 0);
    struct chain kept = envelope;
    envelope = (struct chain)CHAIN_INIT;
    a.envelope = &kept;
    a.m.envelope = &kept;
    ck_assert_int_eq(append(&b, second, 1), 0);
    fail_syncs(w[SPOOL_REMOTE]->f.fd, _i == 0 ? 1 : 2);
    ck_assert_int_eq(spool_handover_commit(h, &e), -1);
    ck_assert(a.failed && !b.failed);
    OK(spool_handover_mark(h, &e));
    ck_assert_int_eq(state_of(&item[0], 0), SPOOL_PENDING);
    ck_assert_int_eq(state_of(&item[0], 1), SPOOL_EXPANDED);
    chain_clear(&envelope, k->blocks);
    chain_clear(&kept, k->blocks);
    ck_assert_int_eq(spool_handover_lost(h), _i == 1);
    ck_assert_int_eq(append(&a, first, 1), _i == 0 ? 0 : -1);
    OK(spool_handover_commit(h, &e));
    OK(spool_handover_confirm(h, &e));
    ck_assert_int_eq(state_of(&item[0], 0),
                     _i == 0 ? SPOOL_EXPANDED : SPOOL_PENDING);
}
END_TEST

static unsigned marks;

static ssize_t count_marks(int fd, const struct iovec *v, int n, off_t at)
{
    marks += n == 1 && v[0].iov_len == SPOOL_SLOT;
    return fs_system.pwritev(fd, v, n, at);
}

/* It reads as written, and is on no disk. */
START_TEST(a_mark_lost_by_a_sync_is_written_again_by_the_start)
{
    struct spool_child c = { .to = SPOOL_REMOTE };
    static struct fs_ops ops;

    submit(SPOOL_LOCAL, 1, 0);
    start(SPOOL_LOCAL);
    c.parent = &item[0];
    ck_assert_int_eq(append(&c, first, 1), 0);
    OK(spool_handover_commit(h, &e));
    OK(spool_handover_mark(h, &e));
    fail_syncs(item[0].segment->fd, 1);
    ck_assert_int_eq(spool_handover_confirm(h, &e), -1);
    ck_assert_int_eq(spool_handover_confirm(h, &e), -1);
    ck_assert(spool_handover_lost(h));
    die();
    ops = fs_system;
    ops.pwritev = count_marks;
    fs_replace(&ops);
    marks = 0;
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(marks, 1);
    die();
    marks = 0;
    start(SPOOL_LOCAL);
    ck_assert_msg(marks == 0, "it is confirmed");
}
END_TEST

/* A mark stands in the segment of a server, whose next sync fails and may lose
 * the mark with it; the descriptor of the consumer does not say so. */
START_TEST(a_mark_lost_by_a_sync_of_the_writer)
{
    struct spool_writer_kind kind = { SPOOL_LOCAL, 0, 1 << 16 };
    struct spool_child c = { .to = SPOOL_REMOTE };
    struct spool_writer *server;

    OK(spool_writer_open_as(&server, k->dir, &kind, &e));
    submit_by(server, 1, 0, false);
    start(SPOOL_LOCAL);
    c.parent = &item[0];
    ck_assert_int_eq(append(&c, first, 1), 0);
    OK(spool_handover_commit(h, &e));
    OK(spool_handover_mark(h, &e));
    chain_clear(&envelope, k->blocks);
    fail_syncs(server->f.fd, 1);
    submit_by(server, 1, 0, true);
    if (_i == 1)
        scan(); /* it is found either way */
    ck_assert_int_eq(spool_handover_confirm(h, &e), -1);
    ck_assert(spool_handover_lost(h));
    spool_writer_close(&server);
    die();
    start(SPOOL_LOCAL);
    ck_assert(!spool_handover_lost(h));
    OK(spool_handover_confirm(h, &e));
}
END_TEST

/* --- the start ------------------------------------------------------------ */

static struct msg_id hand_over_and_die(struct spool_child *c)
{
    struct msg_id id = submit(SPOOL_LOCAL, 2, 0);

    start(SPOOL_LOCAL);
    c->parent = &item[0];
    c->to = SPOOL_REMOTE;
    ck_assert_int_eq(append(c, first, 1), 0);
    OK(spool_handover_commit(h, &e));
    return id;
}

static void poke(const struct spool_writer *of, uint64_t at, const char *bytes,
                 size_t n)
{
    char path[SPOOL_PATH];

    spool_path(path, of->dir, of->f.h.id, SPOOL_SEG);
    int fd = open(path, O_WRONLY);
    ck_assert(fd >= 0 && pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n);
    close(fd);
}

static const struct {
    const char *name;
    uint64_t at;
    size_t n;
    enum spool_state state; /* of the parent's slot, after the start */
} rot[] = {
    { "nothing", SPOOL_CONFIRMED_AT, 0, SPOOL_EXPANDED },
    { "the confirmed word", SPOOL_CONFIRMED_AT, 3, SPOOL_EXPANDED },
    { "the header", 16, 40, SPOOL_EXPANDED },
    { "the state", SPOOL_STATE_AT, 9, SPOOL_EXPANDED },
    { "the child's header", SPOOL_SEGMENT_HEADER + 20, 8, SPOOL_PENDING },
    { "the child's envelope",
      SPOOL_SEGMENT_HEADER + SPOOL_RECORD_HEADER + SPOOL_SLOT + 2, 3,
      SPOOL_PENDING },
};

START_TEST(what_has_rotted)
{
    struct spool_child c = { 0 };

    hand_over_and_die(&c);
    poke(w[SPOOL_REMOTE], rot[_i].at,
         "rotten rotten rotten rotten rotten rotten", rot[_i].n);
    die();
    for (int again = 0; again < 2; again++) {
        start(SPOOL_LOCAL);
        ck_assert_msg(state_of(&item[0], 0) == rot[_i].state, "%s",
                      rot[_i].name);
        ck_assert_int_eq(state_of(&item[0], 1), SPOOL_PENDING);
        die();
    }
}
END_TEST

START_TEST(a_parent_that_is_gone_needs_no_mark)
{
    char path[SPOOL_PATH];
    struct spool_child c = { 0 };

    hand_over_and_die(&c);
    spool_path(path, k->s->dir, item[0].segment->id, SPOOL_SEG);
    die();
    ck_assert_int_eq(unlink(path), 0);
    start(SPOOL_LOCAL);
    ck_assert_uint_eq(nitems, 0);
}
END_TEST

START_TEST(a_slot_that_ended_otherwise_stays)
{
    const struct spool_slot deleted = { .state = SPOOL_DELETED };
    struct spool_child c = { 0 };

    hand_over_and_die(&c);
    OK(spool_slot_put(k->s, &item[0], 0, &deleted, &e));
    die();
    start(SPOOL_LOCAL);
    ck_assert_int_eq(state_of(&item[0], 0), SPOOL_DELETED);
}
END_TEST

/* --- the other consumer --------------------------------------------------- */

static size_t files(void)
{
    return kit_files(k, ".seg"); /* of remote/ */
}

/* It has delivered all of it, and waits for the word. */
START_TEST(an_unconfirmed_child_holds_its_segment)
{
    const struct spool_slot done = { .state = SPOOL_DELIVERED };
    struct spool_queue *local, *remote;
    struct spool_child c = { 0 };

    hand_over_and_die(&c);
    local = k->s;
    spool_writer_close(&w[SPOOL_REMOTE]);
    OK(spool_queue_open(&remote, k->dir, SPOOL_REMOTE, &e));
    k->s = remote;
    scan();
    ck_assert_uint_eq(nitems, 2);
    OK(spool_slot_put(remote, &item[1], 0, &done, &e));
    spool_message_done(remote, &item[1]);
    scan();
    ck_assert_uint_eq(files(), 1);
    k->s = local;
    die();
    start(SPOOL_LOCAL);
    spool_handover_close(&h);
    spool_writer_close(&w[SPOOL_REMOTE]); /* it holds nothing */
    ck_assert_uint_eq(files(), 1);
    local = k->s;
    k->s = remote;
    scan();
    ck_assert_uint_eq(files(), 0);
    k->s = local;
    spool_queue_close(&remote);
}
END_TEST

Suite *spool_handover_suite(void);
Suite *spool_handover_suite(void)
{
    Suite *s = suite_create("spool_handover");
    TCase *t = tcase_create("spool_handover");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_step_marks_what_it_replaces, SPOOL_LOCAL,
                        SPOOL_QUEUES);
    tcase_add_loop_test(t, there_is_no_fifth_level, 0, 4);
    tcase_add_test(t, a_message_of_65535_recipients);
    tcase_add_test(t, so_many_may_be_unconfirmed);
    tcase_add_test(t, a_turn_taken_back_marks_nothing);
    tcase_add_loop_test(t, a_failed_commit_is_tried_again_when_it_is_cut, 0, 2);
    tcase_add_test(t, a_mark_lost_by_a_sync_is_written_again_by_the_start);
    tcase_add_loop_test(t, a_mark_lost_by_a_sync_of_the_writer, 0, 2);
    tcase_add_loop_test(t, what_has_rotted, 0,
                        (int)(sizeof rot / sizeof rot[0]));
    tcase_add_test(t, a_parent_that_is_gone_needs_no_mark);
    tcase_add_test(t, a_slot_that_ended_otherwise_stays);
    tcase_add_test(t, an_unconfirmed_child_holds_its_segment);
    suite_add_tcase(s, t);
    return s;
}
