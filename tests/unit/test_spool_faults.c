/* test_spool_faults.c - each call of the writer fails once, or for a while.
 *
 * Whatever fails: what was acknowledged is there, what was refused is not, no
 * descriptor and no file is left over, and the writer works again when the
 * disk does. */
#include "disk_model.h"
#include "few.h"
#include "spool_kit.h"

#include "base/fs.h"
#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT = 24 * 1024 };

static const struct {
    const char *name;
    int error;
    bool lasting; /* from then on, not once */
} faults[] = {
    { "EIO once", EIO, false },
    { "ENOSPC once", ENOSPC, false },
    { "short writes", MODEL_SHORT, true },
    { "EIO from there on", EIO, true },
    { "ENOSPC from there on", ENOSPC, true },
};

static struct kit *k;
static int kind;
static size_t fail_at, calls;
static bool armed, struck;
static enum model_kind struck_kind;
static bool acked[KIT_MESSAGES], refused[KIT_MESSAGES];

static int fail_nth(const struct model_op *op)
{
    if (!armed)
        return 0;
    size_t n = calls++;
    if (faults[kind].error == MODEL_SHORT)
        return n % 3 == fail_at % 3 ? MODEL_SHORT : 0;
    if (faults[kind].error == ENOSPC && op->kind != MODEL_CREATE &&
        op->kind != MODEL_WRITE && op->kind != MODEL_SIZE &&
        op->kind != MODEL_RENAME)
        return 0;
    if (n < fail_at || (!faults[kind].lasting && struck))
        return 0;
    if (!struck)
        struck_kind = op->kind;
    struck = true;
    return faults[kind].error;
}

static void setup(void)
{
    k = kit_new(NULL);
    calls = 0;
    struck = armed = false;
    memset(acked, 0, sizeof acked);
    memset(refused, 0, sizeof refused);
}

static void start(void)
{
    model_fail = fail_nth;
    model_start(k->dir);
}

static void teardown(void)
{
    model_stop();
    model_fail = NULL;
    model_free();
    if (k != NULL)
        kit_free(&k);
}

/* One turn: messages from `first`, each third a large one when wanted. */
static void turn(uint32_t first, uint32_t n, size_t size, bool larges)
{
    struct err e;
    bool ok = k->w != NULL;

    if (k->w == NULL)
        spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, SEGMENT, &e);
    ok = k->w != NULL;
    for (uint32_t i = first; i < first + n && ok; i++)
        ok = kit_try(k, k->w, i, size, larges && i % 3 == 1, &e) == 0;
    if (!ok && k->w != NULL)
        spool_writer_rollback(k->w);
    if (ok)
        ok = spool_writer_commit(k->w, &e) == 0;
    if (!ok)
        ck_assert_msg(e.kind == ERR_TEMP && e.sys != 0, "%s", e.text);
    for (uint32_t i = first; i < first + n; i++)
        (ok ? acked : refused)[i] = true;
    kit_forget_chains(k);
}

static void look_after(void)
{
    char what[100];
    struct err e;

    snprintf(what, sizeof what, "%s, call %zu", faults[kind].name, fail_at);
    ck_assert_msg(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e) == 0,
                  "%s: %s", what, e.text);
    kit_scan(k);
    for (uint32_t i = 0; i < KIT_MESSAGES; i++) {
        bool there = kit_find(k, i) != NULL;
        ck_assert_msg(!acked[i] || there, "%s: %u is lost", what, (unsigned)i);
        ck_assert_msg(acked[i] || refused[i] || !there, "%s: %u from nowhere",
                      what, (unsigned)i);
        /* a disk that refuses even to take back may leave a duplicate */
        ck_assert_msg(!refused[i] || !there || faults[kind].lasting,
                      "%s: %u was refused and is there", what, (unsigned)i);
    }
    struct spool_usage u;
    spool_queue_usage(k->s, &u);
    ck_assert_msg(u.damaged == 0, "%s: damage", what);
    if (!faults[kind].lasting && struck_kind != MODEL_UNLINK)
        ck_assert_msg(kit_files(k, ".new") == 0, "%s: a .new is left", what);
}

/* When only some of the calls fail, others for each kind. */
static size_t begin_at(int which)
{
    return few_step() > 1 ? (size_t)which : 0;
}

START_TEST(writer_survives)
{
    kind = _i;
    for (fail_at = begin_at(kind);; fail_at += few_step()) {
        setup();
        size_t before = kit_open_fds();
        start();
        armed = true;
        turn(0, 2, 800, false);
        turn(3, 4, 5000, true);
        turn(10, 6, 3000, false);
        armed = false;
        turn(20, 1, 100, true);
        ck_assert_msg(acked[20], "%s, call %zu: never works again",
                      faults[kind].name, fail_at);
        spool_writer_close(&k->w);
        ck_assert_msg(kit_open_fds() == before,
                      "%s, call %zu: a descriptor leaked", faults[kind].name,
                      fail_at);
        look_after();
        bool all =
            !struck && (faults[kind].error != MODEL_SHORT || fail_at >= 3);
        teardown();
        if (all)
            break;
    }
    ck_assert_uint_gt(fail_at, 2);
}
END_TEST

/* --- a writer that finds no room for its first segment -------------------- */

static const int first[] = { ENOSPC, EDQUOT, EIO, EACCES, EROFS };

static int first_error;
static enum model_kind first_call;

static int fail_first(const struct model_op *op)
{
    return armed && op->kind == first_call ? first_error : 0;
}

/* It has ids to give as soon as a segment can be made, and no file is left
 * over. */
static void begin_without(int i, enum model_kind where)
{
    struct err e;
    struct msg_id id;

    setup();
    size_t before = kit_open_fds();
    first_error = first[i];
    first_call = where;
    model_fail = fail_first;
    model_start(k->dir);
    armed = true;
    ck_assert_int_eq(
        spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, SEGMENT, &e), 0);
    for (int tries = 0; tries < 2; tries++)
        ck_assert_int_eq(spool_writer_new_id(k->w, &id, &e), -1);
    ck_assert_int_eq(e.sys, first_error);
    ck_assert_uint_eq(kit_files(k, ".new") + kit_files(k, ".seg"), 0);
    turn(0, 2, 500, false);
    ck_assert(refused[0] && refused[1]);
    armed = false;
    turn(2, 3, 500, true);
    ck_assert(acked[2] && acked[3] && acked[4]);
    ck_assert_int_eq(spool_writer_new_id(k->w, &id, &e), 0);
    ck_assert_uint_eq(id.base, k->w->f.h.id);
    spool_writer_close(&k->w);
    ck_assert_uint_eq(kit_open_fds(), before);
    look_after();
    teardown();
}

START_TEST(begins_without_a_segment)
{
    begin_without(_i, MODEL_CREATE);
    begin_without(_i, MODEL_SIZE);
}
END_TEST

/* The same for the sender's calls: marks, syncs, reclaim, unlink. */
static void send_some(void)
{
    struct err e;

    for (uint32_t i = 0; i < 30; i++)
        if (i % 6 != 0 && kit_mark(k, i, 0, SPOOL_DELIVERED) == 0)
            refused[i] = true; /* may be there or not */
    for (uint32_t i = 0; i < 30; i++)
        if (i % 6 != 0) {
            refused[i] = true;
            armed = false;
            for (uint32_t r = 0; r < 1 + i % 3; r++)
                kit_mark(k, i, r, SPOOL_DELIVERED);
            armed = true;
            kit_done(k, i);
        }
    spool_queue_sync(k->s, &e);
    for (int i = 0; i < 20 && spool_queue_reclaim(k->s, k->w, &e) != 0; i++)
        ;
    spool_queue_sync(k->s, &e);
}

START_TEST(sender_survives)
{
    kind = _i;
    for (fail_at = begin_at(kind);; fail_at += few_step()) {
        struct err e;
        setup();
        size_t before = kit_open_fds();
        start();
        for (uint32_t i = 0; i < 30; i += 5)
            turn(i, 5, 3000, false);
        spool_writer_close(&k->w);
        ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), 0);
        ck_assert_int_eq(
            spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, SEGMENT, &e),
            0);
        kit_scan(k);
        armed = true;
        send_some();
        armed = false;
        for (uint32_t i = 0; i < 30; i++)
            acked[i] = i % 6 == 0;
        for (int i = 0; i < 20 && spool_queue_reclaim(k->s, k->w, &e) > 0; i++)
            ;
        spool_writer_close(&k->w);
        spool_queue_close(&k->s);
        ck_assert_msg(kit_open_fds() == before,
                      "%s, call %zu: a descriptor leaked", faults[kind].name,
                      fail_at);
        memset(k->found, 0, sizeof k->found);
        k->nfound = 0;
        look_after();
        for (uint32_t i = 0; i < 30; i++)
            ck_assert_msg(i % 6 == 0 || kit_find(k, i) == NULL,
                          "%s, call %zu: %u came back", faults[kind].name,
                          fail_at, (unsigned)i);
        bool all =
            !struck && (faults[kind].error != MODEL_SHORT || fail_at >= 3);
        teardown();
        if (all)
            break;
    }
    ck_assert_uint_gt(fail_at, 2);
}
END_TEST

Suite *spool_faults_suite(void);
Suite *spool_faults_suite(void)
{
    Suite *s = suite_create("spool_faults");
    TCase *t = tcase_create("spool_faults");
    int n = (int)(sizeof faults / sizeof faults[0]);

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, writer_survives, 0, n);
    tcase_add_loop_test(t, begins_without_a_segment, 0,
                        (int)(sizeof first / sizeof first[0]));
    tcase_add_loop_test(t, sender_survives, 0, n);
    suite_add_tcase(s, t);
    return s;
}
