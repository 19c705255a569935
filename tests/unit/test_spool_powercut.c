/* test_spool_powercut.c - cut the power after every call and look.
 *
 * A workload of writer and sender is recorded.  For each prefix of its calls
 * every disk that the model (disk_model.h) allows is built and recovered.
 * What was acknowledged must be there, whole; what was never handed in must
 * not; what was marked and synced must stay so.  Then the same with one sync
 * left out of the record, and with the order of unlinks (unlink_order_private.h) left
 * out: the test must notice, or it proves nothing. */
#include "disk_model.h"
#include "few.h"
#include "spool_kit.h"

#include "base/fs.h"
#include "spool/reclaim.h"
#include "spool/unlink_order_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SEGMENT = 24 * 1024, RCPTS = 3 };
#define NEVER SIZE_MAX

/* --- what was promised, and when (numbers of calls) ----------------------- */

enum phase { IDLE, OPENING, COMMITTING, SYNCING, RECLAIMING, RECOVERING };

static struct {
    size_t begun, promised;
    size_t marked[RCPTS], synced[RCPTS];
    enum spool_state state[RCPTS];
} told[KIT_MESSAGES];

static struct kit *k;
static struct spool_writer *server; /* k->w is the sender's own */
static enum phase phase;
static int fail_sync_in; /* the sync of the next commit fails */

static void forget_promises(void)
{
    for (size_t i = 0; i < KIT_MESSAGES; i++) {
        told[i].begun = told[i].promised = NEVER;
        for (int r = 0; r < RCPTS; r++)
            told[i].marked[r] = told[i].synced[r] = NEVER;
    }
}

static uint32_t rcpts(uint32_t number)
{
    return 1 + number % 3;
}

/* --- steps of the workload ------------------------------------------------ */

static uint32_t turn[64];
static size_t nturn;

static void hand_in(struct spool_writer *w, uint32_t number, size_t size,
                    bool large)
{
    struct err e;

    told[number].begun = model_count();
    ck_assert_msg(kit_try(k, w, number, size, large, &e) == 0, "%s", e.text);
    turn[nturn++] = number;
}

static void commit(struct spool_writer *w, int want)
{
    struct err e;

    phase = COMMITTING;
    ck_assert_int_eq(spool_writer_commit(w, &e), want);
    phase = IDLE;
    for (size_t i = 0; i < nturn && want == 0; i++)
        told[turn[i]].promised = model_count();
    nturn = 0;
    kit_forget_chains(k);
}

static void mark(uint32_t number, uint32_t rcpt, enum spool_state state)
{
    told[number].marked[rcpt] = model_count();
    told[number].state[rcpt] = state;
    ck_assert_int_eq(kit_mark(k, number, rcpt, state), 0);
}

static void finish(uint32_t number)
{
    for (uint32_t r = 0; r < rcpts(number); r++)
        if (told[number].marked[r] == NEVER) {
            told[number].marked[r] = model_count();
            told[number].state[r] = SPOOL_DELIVERED;
        }
    kit_finish(k, number);
}

static void sync_marks(void)
{
    struct err e;

    phase = SYNCING;
    ck_assert_msg(spool_queue_sync(k->s, &e) == 0, "%s", e.text);
    phase = IDLE;
    for (size_t i = 0; i < KIT_MESSAGES; i++)
        for (int r = 0; r < RCPTS; r++)
            if (told[i].marked[r] != NEVER && told[i].synced[r] == NEVER)
                told[i].synced[r] = model_count();
}

static void reclaim(void)
{
    struct err e;
    int rc;

    phase = RECLAIMING;
    while ((rc = spool_queue_reclaim(k->s, k->w, &e)) > 0)
        ;
    ck_assert_msg(rc == 0, "%s", e.text);
    phase = IDLE;
}

static void look_around(void)
{
    k->s->look = true;
    phase = RECOVERING;
    kit_scan(k);
    phase = IDLE;
}

static void open_writer(struct spool_writer **w)
{
    struct err e;

    phase = OPENING;
    ck_assert_msg(
        spool_writer_open_sized(w, k->dir, SPOOL_REMOTE, SEGMENT, &e) == 0 &&
            spool_writer_reserve(*w, 0, &e) == 0,
        "%s", e.text);
    phase = IDLE;
}

/* 1: each sync fails; 2: killed before its first sync. */
static int fail_sync(const struct model_op *op)
{
    static bool dead;

    dead = fail_sync_in == 2 && (dead || op->kind == MODEL_SYNC);
    if (dead)
        return MODEL_KILLED;
    return fail_sync_in == 1 && op->kind == MODEL_SYNC ? EIO : 0;
}

/* kill -9 in the middle of a commit: records are written, nothing more. */
static void die_in_commit(struct spool_writer **w)
{
    struct err e;

    fail_sync_in = 2;
    ck_assert_int_eq(spool_writer_commit(*w, &e), -1);
    spool_writer_close(w);
    fail_sync_in = 0;
    nturn = 0;
    kit_forget_chains(k);
}

static void serve_a_while(void)
{
    open_writer(&server);
    hand_in(server, 0, 900, false);
    hand_in(server, 1, 0, false);
    hand_in(server, 2, 3000, false);
    commit(server, 0);
    look_around();
    hand_in(server, 3, 100, false);
    hand_in(server, 4, 9000, true);
    hand_in(server, 5, 2000, true);
    commit(server, 0);
    look_around();
    mark(2, 1, SPOOL_DELIVERED);
    mark(4, 0, SPOOL_HELD);
    sync_marks();
}

/* More than one segment, of which most is soon delivered. */
static void serve_much(void)
{
    for (uint32_t i = 10; i < 40; i++) {
        hand_in(server, i, 1500, false);
        if (i % 5 == 4)
            commit(server, 0);
    }
    look_around();
    mark(20, 0, SPOOL_FAILED); /* of three recipients */
    for (uint32_t i = 10; i < 40; i++)
        if (i % 10 != 0)
            finish(i);
    sync_marks();
    finish(0);
    finish(3);
}

static void move_things(void)
{
    open_writer(&k->w);
    reclaim();
    hand_in(k->w, 50, 700, false); /* a bounce beside the copies */
    commit(k->w, 0);
    mark(20, 1, SPOOL_DELIVERED);
    sync_marks();
    for (uint32_t i = 60; i < 75; i++) /* leave that segment too */
        hand_in(k->w, i, 2500, false);
    commit(k->w, 0);
    look_around();
    for (uint32_t i = 60; i < 75; i++)
        finish(i);
    finish(50);
    reclaim();
    sync_marks();
}

static void fail_sometimes(void)
{
    hand_in(server, 80, 800, false);
    hand_in(server, 81, 6000, true);
    fail_sync_in = 1;
    commit(server, -1);
    fail_sync_in = 0;
    hand_in(server, 82, 800, false);
    commit(server, 0);
    look_around();
}

static void crash(void)
{
    hand_in(server, 90, 2200, false);
    commit(server, 0);
    for (uint32_t i = 91; i < 95; i++)
        hand_in(server, i, 1000 + 700 * i % 4000, i == 93);
    die_in_commit(&server);
    look_around();
    open_writer(&server);
    hand_in(server, 96, 40, false);
    commit(server, 0);
}

/* --- the order of unlinks ------------------------------------------------- */

/* How much of it is kept. */
static enum order {
    KEPT,
    FORGOTTEN, /* a segment goes as soon as all in it is delivered */
    UNSYNCED,  /* ... as soon as those its copies came from are unlinked */
    UNREAD     /* a start does not look for those its copies came from */
} order;

static void bend_order(void)
{
    if (order == UNSYNCED) {
        spool_unlink_order_synced(k->s);
    } else if (order == FORGOTTEN) {
        kit_forget_order(k->s);
        spool_segments_settle_all(k->s);
    }
}

static void reclaim_some(void)
{
    struct err e;

    phase = RECLAIMING;
    ck_assert_msg(spool_queue_reclaim(k->s, k->w, &e) >= 0, "%s", e.text);
    phase = IDLE;
    bend_order();
}

static void start_again(void)
{
    struct err e;

    spool_writer_close(&k->w);
    phase = RECOVERING;
    kit_reopen(k);
    k->s->reclaim_items = 2;
    k->s->settled = order == UNREAD;
    phase = IDLE;
    look_around();
    bend_order();
    open_writer(&k->w);
    ck_assert_msg(spool_queue_sync(k->s, &e) == 0, "%s", e.text);
}

static void finish_all(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (kit_find(k, i) != NULL)
            finish(i);
    sync_marks();
    bend_order();
}

/* Two of the four that wait in a segment are moved, delivered, and the file
 * with the copies is left: it could go, but for the old one, where the others
 * still wait. */
static void move_half(void)
{
    for (uint32_t i = 10; i < 22; i++)
        hand_in(server, i, 1200, false);
    commit(server, 0);
    hand_in(server, 22, 20000, false); /* in the next segment */
    commit(server, 0);
    look_around();
    finish_all(14, 23);
    k->s->reclaim_items = 2;
    reclaim_some();
    hand_in(k->w, 30, 20000, false); /* the sender's own next segment */
    commit(k->w, 0);
    look_around();
    finish_all(10, 12);
}

static void unordered_workload(void)
{
    struct err e;

    forget_promises();
    k = kit_new(NULL);
    model_start(k->dir);
    ck_assert_msg(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e) == 0, "%s",
                  e.text);
    open_writer(&k->w); /* first: a start reads its segment first */
    open_writer(&server);
    look_around();
    move_half();
    start_again();
    reclaim_some();
    sync_marks();
    bend_order();
    reclaim_some();
    finish_all(12, 31);
    spool_writer_close(&server);
    spool_writer_close(&k->w);
    look_around();
    ck_assert(order != KEPT || kit_files(k, ".seg") == 0);
    spool_queue_close(&k->s);
    model_stop();
}

static void workload(void)
{
    struct err e;

    forget_promises();
    k = kit_new(NULL);
    model_fail = fail_sync;
    model_start(k->dir);
    ck_assert_msg(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e) == 0, "%s",
                  e.text);
    serve_a_while();
    serve_much();
    move_things();
    fail_sometimes();
    crash();
    spool_writer_close(&server);
    look_around();
    finish(1);
    finish(2);
    sync_marks();
    spool_writer_close(&k->w);
    spool_queue_close(&k->s);
    model_stop();
}

/* --- the judge ------------------------------------------------------------ */

static struct kit *after; /* the queue as the cut left it */
static struct spool_message items[2 * KIT_MESSAGES];
static size_t nitems;
static size_t looked[KIT_MESSAGES], faults, judged;
static char first_fault[600];
static size_t now_count, now_way;

static void complain(const char *what, uint32_t number)
{
    if (faults++ == 0)
        snprintf(first_fault, sizeof first_fault,
                 "%s: message %u, cut after call %zu, way %zu", what,
                 (unsigned)number, now_count, now_way);
}

static int on_look(void *ctx, const struct spool_reader *v)
{
    uint32_t number;

    (void)ctx;
    if (kit_check(v, &number) != 0)
        complain("half a message is shown", 0);
    else
        looked[number]++;
    return 0;
}

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    return nitems < 2 * KIT_MESSAGES ? &items[nitems++] : NULL;
}

static bool has_final_mark(uint32_t number, uint32_t r)
{
    return told[number].marked[r] <= now_count &&
           told[number].state[r] != SPOOL_HELD;
}

static void judge_slots(struct spool_message *it, uint32_t number)
{
    struct spool_slot slot;
    struct err e;

    for (uint32_t r = 0; r < rcpts(number); r++) {
        if (spool_slot_get(after->s, it, r, &slot, &e) != 0)
            complain(e.text, number);
        else if (told[number].synced[r] <= now_count &&
                 slot.state != told[number].state[r])
            complain("a synced mark is lost", number);
        else if (told[number].marked[r] > now_count &&
                 slot.state != SPOOL_PENDING)
            complain("a mark that nobody made", number);
    }
}

static void judge_item(struct spool_message *it, size_t *present)
{
    struct body body;
    struct err e;
    uint32_t number;

    if (spool_message_pin(after->s, it, &body, &e) != 0) {
        complain(e.text, 0);
        return;
    }
    struct spool_segment *pinned = it->segment;
    struct spool_reader v = { &it->rec, SPOOL_REMOTE, body.fd, it->at, NULL };
    if (kit_check(&v, &number) != 0) {
        complain("half a message", 0);
    } else {
        present[number]++;
        judge_slots(it, number);
    }
    spool_message_unpin(after->s, pinned);
}

static void judge_message(uint32_t number, size_t present)
{
    bool waits = false;

    for (uint32_t r = 0; r < rcpts(number); r++)
        waits |= !has_final_mark(number, r);
    if (present > 1)
        complain("a message is there twice", number);
    if (present > 0 && told[number].begun > now_count)
        complain("a message that was never handed in", number);
    if (present == 0 && told[number].promised <= now_count && waits)
        complain("an acknowledged message is lost", number);
}

static void open_and_scan(size_t *present)
{
    struct spool_usage u;
    struct err e;

    memset(present, 0, KIT_MESSAGES * sizeof *present);
    nitems = 0;
    if (spool_queue_open(&after->s, after->dir, SPOOL_REMOTE, &e) != 0 ||
        spool_queue_scan(after->s, on_found, NULL, &e) != 0)
        complain(e.text, 0);
    for (size_t i = 0; i < nitems; i++)
        judge_item(&items[i], present);
    spool_queue_usage(after->s, &u);
    if (u.damaged > 0)
        complain("a torn tail is taken for damage", 0);
    if (u.messages != nitems)
        complain("messages are not counted right", 0);
}

static void judge(void)
{
    size_t present[KIT_MESSAGES], again[KIT_MESSAGES];
    struct err e;

    judged++;
    memset(looked, 0, sizeof looked);
    if (spool_read_all(after->dir, false, on_look, NULL, &e) != 0)
        complain(e.text, 0);
    open_and_scan(present);
    spool_queue_close(&after->s);
    if (judged % 8 == 0) {
        open_and_scan(again);
        spool_queue_close(&after->s);
    } else {
        memcpy(again, present, sizeof again);
    }
    for (uint32_t i = 0; i < KIT_MESSAGES; i++) {
        judge_message(i, present[i]);
        if (looked[i] != present[i])
            complain("a look and a sender see different things", i);
        if (again[i] != present[i])
            complain("the second recovery differs", i);
    }
}

static void cut_everywhere(size_t from, size_t step, bool thorough,
                           bool stop_at_fault)
{
    after = kit_new(NULL);
    faults = judged = 0;
    model_fast_calls();
    for (now_count = from; now_count <= model_count(); now_count += step) {
        size_t ways = model_ways(now_count, thorough);
        for (now_way = 0; now_way < ways; now_way++) {
            if (model_build(now_count, now_way, after->dir))
                judge();
            if (faults > 0 && stop_at_fault)
                goto out;
        }
    }
out:
    fs_replace(NULL);
    kit_free(&after);
}

static void teardown(void)
{
    model_stop();
    model_fail = NULL;
    model_lie = NULL;
    model_free();
    if (k != NULL)
        kit_free(&k);
}

START_TEST(nothing_is_lost)
{
    workload();
    cut_everywhere(0, few_step(), getenv("TEST_THOROUGH") != NULL, false);
    ck_assert_msg(faults == 0, "%zu faults, the first: %s", faults,
                  first_fault);
    ck_assert_uint_gt(judged, few(1000));
}
END_TEST

START_TEST(what_was_moved_is_delivered_once)
{
    order = (enum order)_i;
    if (order != KEPT && few_step() > 1)
        return; /* shown by the plain run */
    unordered_workload();
    cut_everywhere(0, few_step(), true, order != KEPT);
    if (order == KEPT)
        ck_assert_msg(faults == 0, "%zu faults, the first: %s", faults,
                      first_fault);
    else
        ck_assert_msg(faults > 0 && strstr(first_fault, "a synced mark is "
                                                        "lost") != NULL,
                      "order %d, %zu faults: %s", _i, faults, first_fault);
}
END_TEST

/* --- syncs that are left out ---------------------------------------------- */

enum { ANY, ROOM, NO_ROOM };
static const struct {
    const char *name;
    enum phase phase;
    enum model_kind kind;
    bool data_only;
    int room;
    bool odd; /* only each first of two */
} lies[] = {
    { "records", COMMITTING, MODEL_SYNC, true, ROOM, false },
    { "large messages", COMMITTING, MODEL_SYNC, true, NO_ROOM, false },
    { "names of large messages", COMMITTING, MODEL_SYNC_DIR, false, ANY,
      false },
    { "the name of the first segment", OPENING, MODEL_SYNC_DIR, false, ANY,
      false },
    { "a new segment", OPENING, MODEL_SYNC, false, ANY, false },
    { "marks", SYNCING, MODEL_SYNC, true, ANY, false },
    { "unlinks", SYNCING, MODEL_SYNC_DIR, false, ANY, false },
    { "copies", RECLAIMING, MODEL_SYNC, true, ANY, false },
    { "copies before their headers", RECLAIMING, MODEL_SYNC, true, ANY, true },
    { "a recovered segment", RECOVERING, MODEL_SYNC, true, ANY, false },
};
static int lie;
static unsigned lie_calls;
static size_t lie_from; /* the first call that it concerns */

static bool leave_out(const struct model_op *op)
{
    if (op->kind != lies[lie].kind || phase != lies[lie].phase ||
        (op->kind == MODEL_SYNC && op->data_only != lies[lie].data_only))
        return false;
    if (lies[lie].room != ANY &&
        model_has_room(op->node) != (lies[lie].room == ROOM))
        return false;
    if (lie_calls++ == 0)
        lie_from = model_count();
    return !lies[lie].odd || lie_calls % 2 == 1;
}

START_TEST(a_missing_sync_is_noticed)
{
    if (few_step() > 1)
        return; /* shown by the plain run */
    lie = _i;
    lie_calls = 0;
    model_lie = leave_out;
    workload();
    cut_everywhere(lie_from, 1, true, true); /* before it, nothing is new */
    ck_assert_msg(faults > 0, "no sync of %s, and nothing is lost",
                  lies[_i].name);
}
END_TEST

Suite *spool_powercut_suite(void);
Suite *spool_powercut_suite(void)
{
    Suite *s = suite_create("spool_powercut");
    TCase *t = tcase_create("spool_powercut");

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, nothing_is_lost);
    tcase_add_loop_test(t, what_was_moved_is_delivered_once, KEPT, UNREAD + 1);
    tcase_add_loop_test(t, a_missing_sync_is_noticed, 0,
                        (int)(sizeof lies / sizeof lies[0]));
    suite_add_tcase(s, t);
    return s;
}
