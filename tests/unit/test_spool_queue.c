/* test_spool_queue.c - messages go in by a writer and out by a store. */
#include "spool_kit.h"

#include "base/fs.h"
#include "spool/dirs.h"
#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/space.h"
#include "spool/submit.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kit *k;

static void setup(void)
{
    k = kit_new(NULL);
}

static void teardown(void)
{
    fs_replace(NULL);
    kit_free(&k);
}

static void open_writer(uint64_t size)
{
    struct err e;

    ck_assert_msg(
        spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, size, &e) == 0,
        "%s", e.text);
}

static void open_store(void)
{
    struct err e;

    ck_assert_msg(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e) == 0, "%s",
                  e.text);
}

static void commit(void)
{
    struct err e;

    ck_assert_msg(spool_writer_commit(k->w, &e) == 0, "%s", e.text);
    kit_forget_chains(k);
}

/* A sender that starts again: everything it knew comes from the disk. */
static void reopen_store(void)
{
    spool_queue_close(&k->s);
    memset(k->found, 0, sizeof k->found);
    k->nfound = 0;
    open_store();
    kit_scan(k);
}

static const struct {
    const char *name;
    size_t size;
    bool large;
} sizes[] = {
    { "empty", 0, false },           { "one octet", 1, false },
    { "a block", 4080, false },      { "aligned", 128, false },
    { "many blocks", 50000, false }, { "more than a segment", 200000, false },
    { "empty large", 0, true },      { "large", 100000, true },
};

START_TEST(round_trip)
{
    open_store();
    open_writer(KIT_SEGMENT);
    if (sizes[_i].large)
        kit_add_large(k, k->w, (uint32_t)_i, sizes[_i].size);
    else
        kit_add(k, k->w, (uint32_t)_i, sizes[_i].size, NULL);
    ck_assert_msg(kit_scan(k) == 0, "%s: seen before the commit",
                  sizes[_i].name);
    commit();
    ck_assert_msg(kit_scan(k) == 1, "%s: not seen after it", sizes[_i].name);
    ck_assert_ptr_nonnull(kit_find(k, (uint32_t)_i));
    ck_assert_uint_eq(kit_scan(k), 0);
    spool_writer_close(&k->w);
    reopen_store();
    ck_assert_uint_eq(k->nfound, 1);
    kit_finish(k, (uint32_t)_i);
    ck_assert_msg(kit_files(k, ".") == 2, "%s: files are left", sizes[_i].name);
}
END_TEST

START_TEST(a_turn_of_all_kinds)
{
    open_store();
    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 40; i++)
        if (i % 7 == 3)
            kit_add_large(k, k->w, i, 3000 * i);
        else
            kit_add(k, k->w, i, 100 * i, NULL);
    commit();
    kit_add(k, k->w, 40, 10, NULL);
    commit();
    ck_assert_uint_eq(kit_scan(k), 41);
    reopen_store();
    ck_assert_uint_eq(k->nfound, 41);
    for (uint32_t i = 0; i < 41; i++)
        kit_finish(k, i);
    spool_writer_close(&k->w);
    kit_scan(k);
    reopen_store();
    ck_assert_uint_eq(k->nfound, 0);
    ck_assert_uint_eq(kit_files(k, "."), 2);
}
END_TEST

static const size_t copied[] = { 0, 1, 5000, SPOOL_SMALL_MAX,
                                 SPOOL_SMALL_MAX + 1 };

static int copy_field(void *ctx, enum spool_field type, struct span content)
{
    return spool_envelope_add(ctx, k->blocks, type, content) ? 0 : -1;
}

/* What forwards and returns mail to the queue reads it from there. */
START_TEST(a_copy_is_submitted)
{
    struct chain envelope = CHAIN_INIT;
    struct spool_late late = { 0 };
    struct spool_reader v;
    struct spool_submission m = { .arrival = 1005, .envelope = &envelope };
    struct body body;
    struct err e;

    open_store();
    open_writer(KIT_SEGMENT);
    kit_add_large(k, k->w, 5, copied[_i]);
    commit();
    kit_scan(k);
    struct spool_message *from = kit_find(k, 5);
    ck_assert_int_eq(
        spool_message_envelope(k->s, from, copy_field, &envelope, &e), 0);
    ck_assert_int_eq(spool_message_pin(k->s, from, &body, &e), 0);
    struct spool_segment *pinned = from->segment;
    ck_assert_int_eq(spool_message_reader(k->s, from, &v, &e), 0);
    ck_assert_int_eq(spool_reader_late(&v, copy_field, &late.fields, &e), 0);
    m.nrcpt = from->rec.nrcpt;
    m.late = &late;
    ck_assert_int_eq(spool_writer_new_id(k->w, &m.id, &e), 0);
    ck_assert_int_eq(spool_submit(k->w, &m, &body, &e), 0);
    spool_message_unpin(k->s, pinned);
    commit();
    chain_clear(&envelope, k->blocks);
    chain_clear(&late.fields, k->blocks);
    kit_finish(k, 5);
    ck_assert_uint_eq(kit_scan(k), 1);
    struct spool_message *to = kit_find(k, 5);
    ck_assert(msg_id_eq(to->rec.id, m.id));
    ck_assert_int_eq((to->rec.flags & SPOOL_LARGE) != 0,
                     copied[_i] > SPOOL_SMALL_MAX);
    kit_finish(k, 5);
}
END_TEST

static struct {
    uint64_t octets;
    unsigned syncs;
} counted;

static ssize_t count_pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    for (int i = 0; i < n; i++)
        counted.octets += v[i].iov_len;
    return fs_system.pwritev(fd, v, n, at);
}

static int count_fdatasync(int fd)
{
    counted.syncs++;
    return fs_system.fdatasync(fd);
}

/* Zeros go ahead of the records, so that the turns to come sync blocks which
 * are in use already; large turns do without. */
static const struct {
    const char *name;
    size_t size;
    unsigned messages;
    uint64_t least, most; /* octets written */
} turns[] = {
    { "the first fills ahead", 1000, 1, 1 << 20, 1100 * 1024 },
    { "the next needs not", 1000, 1, 1000, 2600 },
    { "many share a sync", 1000, 30, 30000, 80000 },
    { "one beyond what is filled", 250000, 4, 1000000, 1100 * 1024 },
    { "a small one behind it", 1000, 1, 1 << 20, 1100 * 1024 },
    { "many large ones", 250000, 11, 2750000, 2800 * 1024 },
    { "the more there is, the more goes ahead", 1000, 1, 3 << 20, 4200 * 1024 },
};

START_TEST(zeros_go_ahead)
{
    struct fs_ops ops = fs_system;

    ops.pwritev = count_pwritev;
    ops.fdatasync = count_fdatasync;
    open_writer(SPOOL_SEGMENT_SIZE);
    fs_replace(&ops);
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        counted.octets = counted.syncs = 0;
        for (uint32_t m = 0; m < turns[i].messages; m++)
            kit_add(k, k->w, (uint32_t)(i * 40 + m), turns[i].size, NULL);
        commit();
        ck_assert_msg(counted.octets >= turns[i].least &&
                          counted.octets <= turns[i].most,
                      "%s: %llu octets", turns[i].name,
                      (unsigned long long)counted.octets);
        ck_assert_uint_eq(counted.syncs, 1);
    }
}
END_TEST

static ssize_t pread_short(int fd, void *p, size_t n, off_t at)
{
    return fs_system.pread(fd, p, n < 7 ? n : 7, at);
}

/* A read may give less than was asked for, and is no sign of damage. */
START_TEST(short_reads)
{
    struct fs_ops ops = fs_system;
    struct spool_usage u;

    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 4; i++)
        kit_add(k, k->w, i, 1000, NULL);
    commit();
    spool_writer_close(&k->w);
    ops.pread = pread_short;
    fs_replace(&ops);
    open_store();
    kit_scan(k);
    ck_assert_uint_eq(k->nfound, 4);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert(kit_find(k, i) != NULL);
    spool_queue_usage(k->s, &u);
    ck_assert_uint_eq(u.damaged, 0); /* or it ends as .bad */
}
END_TEST

/* Hosts whose mail is in one message ask for its envelope one after the other:
 * that of few recipients, and a very long one, is read each time. */
static const struct {
    uint32_t nrcpt;
    size_t address;
    bool kept;
} envelopes[] = { { 7, 20, false }, { 8, 20, true }, { 40, 250, false } };

static struct spool_message message;

static struct spool_message *on_message(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    return &message;
}

static int count_field(void *ctx, enum spool_field type, struct span content)
{
    *(size_t *)ctx += content.n + (type == SPOOL_F_RCPT ? 1 : 0);
    return 0;
}

static ssize_t pread_fails(int fd, void *p, size_t n, off_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    errno = EIO;
    return -1;
}

START_TEST(an_envelope_of_many_is_read_once)
{
    char address[300];
    struct chain envelope = CHAIN_INIT, none = CHAIN_INIT;
    struct span rcpt = { address, envelopes[_i].address };
    struct spool_submission m = { .arrival = 1000,
                                  .nrcpt = envelopes[_i].nrcpt,
                                  .envelope = &envelope };
    struct body body = body_of_chain(&none, 0);
    struct fs_ops ops = fs_system;
    size_t seen[3] = { 0 };
    struct err e;

    memset(address, 'a', sizeof address);
    ck_assert(spool_envelope_add(&envelope, k->blocks, SPOOL_F_SENDER, rcpt));
    for (uint32_t i = 0; i < m.nrcpt; i++)
        ck_assert(spool_envelope_add(&envelope, k->blocks, SPOOL_F_RCPT, rcpt));
    open_store();
    open_writer(KIT_SEGMENT);
    ck_assert_int_eq(spool_writer_new_id(k->w, &m.id, &e), 0);
    ck_assert_int_eq(spool_submit(k->w, &m, &body, &e), 0);
    commit();
    chain_clear(&envelope, k->blocks);
    ck_assert_int_eq(spool_queue_scan(k->s, on_message, NULL, &e), 0);
    for (int i = 0; i < 3; i++) {
        struct spool_records *ahead = &k->s->ahead;
        int rc =
            spool_message_envelope(k->s, &message, count_field, &seen[i], &e);
        ck_assert_int_eq(rc, i == 0 || envelopes[_i].kept ? 0 : -1);
        ck_assert_uint_eq(seen[i], rc == 0 ? seen[0] : 0);
        ahead->from = ahead->n = 0; /* another message was read meanwhile */
        ops.pread = pread_fails;
        fs_replace(&ops);
    }
    ck_assert_uint_eq(seen[0], rcpt.n + m.nrcpt * (rcpt.n + 1));
}
END_TEST

/* As many as there are places: the oldest goes first, and its place is used
 * again. */
START_TEST(the_latest_envelopes_are_kept)
{
    struct spool_recent r = { 0 };
    char text[16];

    for (uint64_t i = 0; i <= SPOOL_RECENT; i++) {
        snprintf(text, sizeof text, "%u", (unsigned)i);
        spool_recent_keep(&r, 7, i * 256, span_of(text));
    }
    for (uint64_t i = 0; i <= SPOOL_RECENT; i++) {
        struct span found = spool_recent_find(&r, 7, i * 256);
        snprintf(text, sizeof text, "%u", (unsigned)i);
        ck_assert(i == 0 ? found.n == 0 : span_is(found, text));
        ck_assert_uint_eq(spool_recent_find(&r, 8, i * 256).n, 0);
    }
    spool_recent_free(&r);
}
END_TEST

static int removals;

/* A consumer whose clock has jumped was faster. */
static int lock_too_late(int fd, int how)
{
    char link[64], path[300];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (removals == 0 && n > 4 && memcmp(path + n - 4, ".new", 4) == 0) {
        path[n] = '\0';
        ck_assert_int_eq(unlink(path), 0);
        removals++;
    }
    return fs_system.lock(fd, how);
}

START_TEST(a_segment_removed_at_its_birth_gets_another_name)
{
    struct fs_ops ops = fs_system;

    ops.lock = lock_too_late;
    removals = 0;
    fs_replace(&ops);
    open_writer(KIT_SEGMENT);
    kit_add(k, k->w, 1, 1000, NULL);
    commit();
    ck_assert_int_eq(removals, 1);
    open_store();
    ck_assert_uint_eq(kit_scan(k), 1);
    ck_assert_uint_eq(kit_files(k, ".new"), 0);
}
END_TEST

START_TEST(marks_are_remembered)
{
    struct spool_slot slot;
    struct err e;

    open_store();
    open_writer(KIT_SEGMENT);
    kit_add(k, k->w, 2, 1000, NULL); /* three recipients */
    kit_add(k, k->w, 5, 1000, NULL);
    commit();
    kit_scan(k);
    kit_mark(k, 2, 1, SPOOL_DELIVERED);
    kit_mark(k, 5, 0, SPOOL_HELD);
    kit_mark(k, 5, 1, SPOOL_FAILED);
    kit_mark(k, 5, 2, SPOOL_DELETED);
    reopen_store();
    ck_assert_uint_eq(k->nfound, 2);
    static const enum spool_state want[2][3] = {
        { SPOOL_PENDING, SPOOL_DELIVERED, SPOOL_PENDING },
        { SPOOL_HELD, SPOOL_FAILED, SPOOL_DELETED }
    };
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(
            spool_slot_get(k->s, kit_find(k, i < 3 ? 2 : 5), i % 3, &slot, &e),
            0);
        ck_assert_msg(slot.state == want[i / 3][i % 3], "recipient %u", i);
    }
    ck_assert_str_eq(slot.mx, "mx.example.com");
    ck_assert_int_eq(spool_slot_get(k->s, kit_find(k, 2), 3, &slot, &e), -1);
}
END_TEST

START_TEST(ids_never_repeat)
{
    struct spool_writer *other;
    struct msg_id a, b, last = { 0, 0 };
    struct err e;

    open_writer(KIT_SEGMENT);
    ck_assert_int_eq(
        spool_writer_open_sized(&other, k->dir, SPOOL_REMOTE, KIT_SEGMENT, &e),
        0);
    k->w->n = MSG_ID_N_MAX - 10; /* the end of a base is near */
    for (int i = 0; i < 30; i++) {
        ck_assert_int_eq(spool_writer_new_id(k->w, &a, &e), 0);
        ck_assert_int_eq(spool_writer_new_id(other, &b, &e), 0);
        ck_assert(!msg_id_eq(a, b) && !msg_id_eq(a, last));
        ck_assert(a.base > last.base || (a.base == last.base && a.n > last.n));
        ck_assert_uint_le(a.n, MSG_ID_N_MAX);
        last = a;
    }
    ck_assert(k->w->base != other->base);
    spool_writer_close(&other);
}
END_TEST

START_TEST(rollback_leaves_nothing)
{
    open_store();
    open_writer(KIT_SEGMENT);
    kit_add(k, k->w, 1, 100, NULL);
    kit_add_large(k, k->w, 2, 100000);
    spool_writer_rollback(k->w);
    kit_add(k, k->w, 3, 100, NULL);
    commit();
    kit_scan(k);
    ck_assert_uint_eq(k->nfound, 1);
    ck_assert_ptr_nonnull(kit_find(k, 3));
    ck_assert_uint_eq(kit_files(k, ".new"), 0);
    ck_assert_uint_eq(kit_files(k, ".seg"), 1);
}
END_TEST

static int count_queue(void *ctx, const struct spool_reader *v)
{
    unsigned *seen = ctx;

    ck_assert_uint_eq(v->rec->segment & 1, v->queue);
    seen[v->queue]++;
    return 0;
}

/* Each queue has its own segments, lock and FIFO. */
START_TEST(two_queues_in_a_directory)
{
    struct spool_queue *local = NULL;
    struct spool_writer *w = NULL;
    unsigned seen[SPOOL_QUEUES] = { 0 };
    struct err e;

    ck_assert_int_eq(
        spool_writer_open_sized(&w, k->dir, SPOOL_LOCAL, KIT_SEGMENT, &e), 0);
    kit_add(k, w, 7, 100, NULL);
    ck_assert_int_eq(spool_writer_commit(w, &e), 0);
    open_writer(KIT_SEGMENT);
    kit_add(k, k->w, 8, 100, NULL);
    kit_add(k, k->w, 9, 100, NULL);
    commit();
    open_store();
    kit_scan(k);
    ck_assert_uint_eq(k->nfound, 2);
    ck_assert_int_eq(spool_queue_open(&local, k->dir, SPOOL_LOCAL, &e), 0);
    ck_assert_int_eq(spool_read_all(k->dir, false, count_queue, seen, &e), 0);
    ck_assert(seen[SPOOL_LOCAL] == 1 && seen[SPOOL_REMOTE] == 2);
    spool_queue_close(&local);
    spool_writer_close(&w);
}
END_TEST

/* Its mail would wait there unseen. */
START_TEST(an_older_directory_is_refused)
{
    char path[300];
    struct err e;

    snprintf(path, sizeof path, "%s/segments", k->dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(spool_dirs_make(k->dir, (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "older version"));
    ck_assert_int_eq(spool_read_all(k->dir, true, count_queue, NULL, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "older version"));
    rmdir(path);
}
END_TEST

START_TEST(one_sender_at_a_time)
{
    struct spool_queue *other;
    struct err e;

    open_store();
    ck_assert_int_eq(spool_queue_open(&other, k->dir, SPOOL_REMOTE, &e), -1);
    ck_assert_int_eq(e.kind, ERR_TEMP);
    ck_assert_int_eq(e.sys, EWOULDBLOCK);
    ck_assert_ptr_null(other);
}
END_TEST

struct all_ids {
    struct msg_id id[KIT_MESSAGES];
    int n;
};

static int note_id(void *ctx, const struct spool_reader *v)
{
    struct all_ids *all = ctx;

    ck_assert(all->n < KIT_MESSAGES);
    all->id[all->n++] = v->rec->id;
    return 0;
}

/* By its id each message is found once, as when all of them are read. */
static void check_ids(int n)
{
    static struct all_ids all, one;
    struct err e;

    all.n = 0;
    ck_assert_int_eq(spool_read_all(k->dir, true, note_id, &all, &e), 0);
    ck_assert_int_eq(all.n, n);
    for (int i = 0; i < all.n; i++) {
        one.n = 0;
        ck_assert_int_eq(spool_read_id(k->dir, all.id[i], note_id, &one, &e),
                         0);
        ck_assert_int_eq(one.n, 1);
        ck_assert(msg_id_eq(one.id[0], all.id[i]));
    }
    one.n = 0;
    struct msg_id none = { all.id[0].base, MSG_ID_N_MAX };
    ck_assert_int_eq(spool_read_id(k->dir, none, note_id, &one, &e), 0);
    ck_assert_int_eq(one.n, 0);
}

START_TEST(reclaim_moves_survivors)
{
    struct err e;
    int rc, calls = 0;

    open_store();
    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 300; i++) {
        kit_add(k, k->w, i, 1000 + i, NULL);
        if (i % 10 == 9)
            commit();
    }
    kit_scan(k);
    for (uint32_t i = 0; i < 300; i++)
        if (i % 20 == 2)
            kit_mark(k, i, 0, SPOOL_HELD);
        else
            kit_finish(k, i);
    while ((rc = spool_queue_reclaim(k->s, k->w, &e)) > 0)
        calls++;
    ck_assert_msg(rc == 0, "%s", e.text);
    ck_assert_int_gt(calls, 1);
    kit_scan(k);
    ck_assert_uint_eq(k->nfound, 15);
    struct spool_usage u;
    spool_queue_usage(k->s, &u);
    ck_assert_uint_eq(u.messages, 15);
    ck_assert_uint_le(u.disk_bytes, 2 * u.live_bytes + 2 * KIT_SEGMENT);
    reopen_store();
    ck_assert_uint_eq(k->nfound, 15);
    for (uint32_t i = 2; i < 300; i += 20) {
        struct spool_slot slot;
        ck_assert_int_eq(spool_slot_get(k->s, kit_find(k, i), 0, &slot, &e), 0);
        ck_assert_int_eq(slot.state, SPOOL_HELD);
    }
}
END_TEST

/* Two segments, the first closed and mostly dead; message 2 waits in it. */
static void make_reclaimable(void)
{
    open_store();
    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 12; i++)
        kit_add(k, k->w, i, 3000, NULL);
    commit();
    kit_scan(k);
    k->w->f.size = k->w->at; /* no room in there any more */
    kit_add(k, k->w, 20, 100, NULL);
    commit();
    kit_scan(k);
    for (uint32_t i = 0; i < 12; i++)
        if (i != 2)
            kit_finish(k, i);
}

START_TEST(a_moved_body_stays_readable)
{
    struct body body;
    struct err e;
    uint32_t number;

    make_reclaimable();
    struct spool_message *it = kit_find(k, 2);
    ck_assert_int_eq(spool_message_pin(k->s, it, &body, &e), 0);
    struct spool_segment *pinned = it->segment;
    struct spool_reader v = { &it->rec, SPOOL_REMOTE, body.fd, it->at, NULL };
    ck_assert_int_eq(spool_queue_reclaim(k->s, k->w, &e), 0);
    ck_assert_ptr_ne(it->segment, pinned);
    ck_assert_uint_eq(it->rec.generation, 1);
    ck_assert_uint_eq(kit_files(k, "."), 3);
    struct spool_record old = it->rec;
    v.rec = &old;
    ck_assert_int_eq(kit_check(&v, &number), 0);
    spool_message_unpin(k->s, pinned);
    ck_assert_int_eq(spool_message_pin(k->s, it, &body, &e), 0);
    struct spool_reader moved = { &it->rec, SPOOL_REMOTE, body.fd, it->at,
                                  NULL };
    ck_assert_int_eq(kit_check(&moved, &number), 0);
    spool_message_unpin(k->s, it->segment);
    kit_scan(k);
    ck_assert_uint_eq(k->nfound, 2);
    kit_finish(k, 2);
}
END_TEST

START_TEST(a_body_to_be_given_away_is_read_only)
{
    struct body body;
    struct err e;
    uint32_t number;

    make_reclaimable();
    struct spool_message *it = kit_find(k, 2);
    ck_assert_int_eq(spool_message_pin_read_only(k->s, it, &body, &e), 0);
    ck_assert_int_eq(fcntl(body.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    struct spool_reader v = { &it->rec, SPOOL_REMOTE, body.fd, it->at, NULL };
    ck_assert_int_eq(kit_check(&v, &number), 0);
    spool_message_unpin(k->s, it->segment);
    kit_finish(k, 2);
}
END_TEST

static int unlink_fails(const char *path)
{
    (void)path;
    errno = EIO;
    return -1;
}

START_TEST(what_could_not_be_removed_goes_later)
{
    struct fs_ops ops = fs_system;
    struct err e;

    open_store();
    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 4; i++)
        kit_add_large(k, k->w, i, 100);
    commit();
    ck_assert_uint_eq(kit_scan(k), 4);
    size_t before = kit_files(k, ".seg"), fds = kit_open_fds();
    ops.unlink = unlink_fails;
    fs_replace(&ops);
    for (uint32_t i = 0; i < 4; i++)
        kit_finish(k, i);
    fs_replace(NULL);
    ck_assert_uint_eq(kit_files(k, ".seg"), before);
    ck_assert_int_eq(spool_queue_reclaim(k->s, k->w, &e), 0);
    ck_assert_uint_eq(kit_files(k, ".seg"), before - 4);
    ck_assert_uint_le(kit_open_fds(), fds);
}
END_TEST

START_TEST(what_has_rotted_is_not_moved)
{
    struct err e;
    struct spool_usage u;

    make_reclaimable();
    struct spool_message *it = kit_find(k, 2);
    char path[SPOOL_PATH];
    spool_path(path, k->s->dir, it->segment->id, SPOOL_SEG);
    int fd = open(path, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, "rot", 3, (off_t)it->at + 1500), 3);
    close(fd);
    ck_assert_int_eq(spool_queue_reclaim(k->s, k->w, &e), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
    ck_assert_int_eq(spool_queue_reclaim(k->s, k->w, &e), 0);
    spool_queue_usage(k->s, &u);
    ck_assert_uint_eq(u.damaged, 1); /* reported, and still there */
    kit_add(k, k->w, 21, 100, NULL); /* the writer is as it was */
    commit();
    kit_scan(k);
    ck_assert_ptr_nonnull(kit_find(k, 21));
    ck_assert_uint_eq(kit_files(k, ".seg"), 3);
}
END_TEST

static struct spool_message some[8];
static size_t nsome, room_for;

static struct spool_message *take_some(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    return nsome < room_for ? &some[nsome++] : NULL;
}

START_TEST(a_scan_goes_on_where_memory_ended)
{
    struct err e;

    open_store();
    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 8; i++) {
        if (i % 3 == 1)
            kit_add_large(k, k->w, i, 100);
        else
            kit_add(k, k->w, i, 100, NULL);
        commit();
    }
    nsome = 0;
    for (room_for = 0; room_for <= 8; room_for++) {
        ck_assert_int_eq(spool_queue_scan(k->s, take_some, NULL, &e),
                         room_for < 8);
        ck_assert_uint_eq(nsome, room_for);
    }
    for (size_t a = 0; a < 8; a++)
        for (size_t b = a + 1; b < 8; b++)
            ck_assert(!msg_id_eq(some[a].rec.id, some[b].rec.id));
}
END_TEST

START_TEST(descriptors_are_bounded)
{
    open_store();
    open_writer(KIT_SEGMENT);
    kit_add(k, k->w, 200, 50, NULL);
    commit();
    size_t before = kit_open_fds();
    for (uint32_t i = 0; i < 200; i++) {
        kit_add_large(k, k->w, i, 50);
        commit();
    }
    ck_assert_uint_eq(kit_open_fds(), before);
    kit_scan(k);
    ck_assert_uint_le(kit_open_fds(), before + SPOOL_OPEN_FILES);
    for (uint32_t i = 0; i < 200; i++)
        ck_assert_int_eq(kit_mark(k, i, 0, SPOOL_HELD), 0);
    struct err e;
    ck_assert_int_eq(spool_queue_sync(k->s, &e), 0);
    ck_assert_uint_le(kit_open_fds(), before + SPOOL_OPEN_FILES);
    for (uint32_t i = 0; i <= 200; i++)
        kit_finish(k, i);
    ck_assert_uint_le(kit_open_fds(), before + 1);
    ck_assert_uint_eq(kit_files(k, ".seg"), 1);
}
END_TEST

static int count(void *ctx, const struct spool_reader *v)
{
    uint32_t number;

    ck_assert_int_eq(kit_check(v, &number), 0);
    ++*(int *)ctx;
    return 0;
}

START_TEST(look_needs_no_lock)
{
    struct err e;
    int waiting = 0, all = 0;

    open_store();
    open_writer(KIT_SEGMENT);
    for (uint32_t i = 0; i < 100; i++)
        kit_add(k, k->w, i, 1000, NULL);
    kit_add_large(k, k->w, 100, 50000);
    commit();
    kit_add(k, k->w, 101, 10, NULL);
    kit_scan(k);
    for (uint32_t i = 0; i < 50; i++)
        kit_finish(k, i);
    ck_assert_int_eq(spool_read_all(k->dir, false, count, &waiting, &e), 0);
    ck_assert_int_eq(spool_read_all(k->dir, true, count, &all, &e), 0);
    ck_assert_int_eq(waiting, 51);
    ck_assert_int_eq(all, 101);
    check_ids(101);
}
END_TEST

START_TEST(no_room_is_said_early)
{
    struct err e;

    open_writer(KIT_SEGMENT);
    ck_assert_int_eq(spool_space_has(k->w, 1000, &e), 0);
    ck_assert_int_eq(spool_space_has(k->w, UINT64_MAX / 4, &e), -1);
    ck_assert_int_eq(e.sys, ENOSPC);
    ck_assert_int_eq(e.kind, ERR_TEMP);
    ck_assert_int_eq(spool_space_has(k->w, UINT64_MAX, &e), -1);
    k->w->room_inodes = 3;
    ck_assert_int_eq(spool_space_has(k->w, 1, &e), -1);
}
END_TEST

Suite *spool_queue_suite(void);
Suite *spool_queue_suite(void)
{
    Suite *s = suite_create("spool_queue");
    TCase *t = tcase_create("spool_queue");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, round_trip, 0,
                        (int)(sizeof sizes / sizeof sizes[0]));
    tcase_add_test(t, a_turn_of_all_kinds);
    tcase_add_loop_test(t, a_copy_is_submitted, 0,
                        (int)(sizeof copied / sizeof copied[0]));
    tcase_add_test(t, zeros_go_ahead);
    tcase_add_test(t, short_reads);
    tcase_add_loop_test(t, an_envelope_of_many_is_read_once, 0,
                        (int)(sizeof envelopes / sizeof envelopes[0]));
    tcase_add_test(t, the_latest_envelopes_are_kept);
    tcase_add_test(t, a_segment_removed_at_its_birth_gets_another_name);
    tcase_add_test(t, marks_are_remembered);
    tcase_add_test(t, ids_never_repeat);
    tcase_add_test(t, rollback_leaves_nothing);
    tcase_add_test(t, two_queues_in_a_directory);
    tcase_add_test(t, an_older_directory_is_refused);
    tcase_add_test(t, one_sender_at_a_time);
    tcase_add_test(t, reclaim_moves_survivors);
    tcase_add_test(t, a_moved_body_stays_readable);
    tcase_add_test(t, a_body_to_be_given_away_is_read_only);
    tcase_add_test(t, what_could_not_be_removed_goes_later);
    tcase_add_test(t, what_has_rotted_is_not_moved);
    tcase_add_test(t, a_scan_goes_on_where_memory_ended);
    tcase_add_test(t, descriptors_are_bounded);
    tcase_add_test(t, look_needs_no_lock);
    tcase_add_test(t, no_room_is_said_early);
    suite_add_tcase(s, t);
    return s;
}
