/* test_serve_commit.c - a turn of the server for both queues, and what remains
 * of it when one of them fails. */
#include "serve/commit.h"

#include "spool_kit.h"

#include "base/fs.h"
#include "log/log.h"
#include "spool/reader.h"
#include "spool/writer_private.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 8, LARGE = 400 * 1000 };

static struct kit *k;
static struct serve_commit *commit;
static unsigned open_transactions;
static struct err e;

/* The transactions of the turn, by the number in their sender. */
static struct {
    struct serve_transaction *t;
    struct msg_id id;
    bool answered;
    int why; /* an errno; 0: it is queued */
} turn[MOST];

static void on_done(struct serve_transaction *t, const struct err *why)
{
    int i = 0;

    while (i < MOST && turn[i].t != t)
        i++;
    ck_assert_int_lt(i, MOST);
    turn[i].t = NULL; /* the next one may have its place in memory */
    turn[i].answered = true;
    turn[i].why = why == NULL ? 0 : why->sys;
}

static void setup(void)
{
    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    memset(turn, 0, sizeof turn);
    k = kit_new(NULL);
    ck_assert_int_eq(serve_commit_open(&commit, k->dir, on_done, &e), 0);
}

static void teardown(void)
{
    fs_replace(NULL);
    serve_commit_close(&commit);
    ck_assert_uint_eq(open_transactions, 0);
    ck_assert_uint_eq(pool_used(k->blocks), 0);
    kit_free(&k);
}

/* places: a letter for each recipient, local, remote or here; their addresses
 * begin with it and are numbered. */
static void submit(int number, const char *places, size_t size)
{
    char text[64], piece[1000];
    struct serve_transaction *t;

    snprintf(text, sizeof text, "%d@from.test", number);
    t = serve_transaction_new(k->blocks, span_of(text), &open_transactions);
    ck_assert_ptr_nonnull(t);
    for (int i = 0; places[i] != '\0'; i++) {
        snprintf(text, sizeof text, "%c%d@to.test", places[i], i);
        ck_assert_int_eq(
            serve_transaction_add_recipient(t, span_of(text),
                                            places[i] == 'l'   ? PLACE_LOCAL
                                            : places[i] == 'h' ? PLACE_HERE
                                                               : PLACE_REMOTE),
            0);
    }
    enum spool_name q = serve_transaction_queue(t);
    t->bodies = k->blocks;
    t->writer = serve_commit_writer(commit, q);
    ck_assert_int_eq(spool_writer_new_id(t->writer, &t->id, &e), 0);
    t->begun = true;
    memset(piece, 'x', sizeof piece);
    for (size_t at = 0; at < size; at += sizeof piece)
        serve_transaction_take(t, piece, sizeof piece);
    ck_assert_int_eq(t->fault, BODY_FINE);
    ck_assert_int_eq(t->large != NULL, size > BODY_MEMORY);
    turn[number].t = t;
    turn[number].id = t->id;
    serve_commit_submit(commit, t);
}

static void run(unsigned n)
{
    ck_assert_uint_eq(serve_commit_waiting(commit), n);
    serve_commit_run(commit);
    ck_assert_uint_eq(serve_commit_waiting(commit), 0);
}

/* --- what is in the queues ------------------------------------------------ */

static struct {
    enum spool_name queue;
    char rcpts[200]; /* in their order; "!" behind one that is here */
    struct msg_id id;
    unsigned copies;
    uint64_t size;
} found[MOST];

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    int *number = ctx;

    if (type == SPOOL_F_SENDER) {
        *number = s.p[0] - '0';
        found[*number].rcpts[0] = '\0';
        return 0;
    }
    char *to = found[*number].rcpts + strlen(found[*number].rcpts);
    if (type == SPOOL_F_RCPT)
        snprintf(to, 10, "%s%.2s", to == found[*number].rcpts ? "" : " ", s.p);
    else if (type == SPOOL_F_HERE)
        snprintf(to, 2, "!");
    return 0;
}

static int on_record(void *ctx, const struct spool_reader *v)
{
    int number = -1;

    (void)ctx;
    ck_assert_int_eq(spool_reader_envelope(v, on_field, &number, &e), 0);
    ck_assert_int_ge(number, 0);
    found[number].queue = v->queue;
    found[number].id = v->rec->id;
    found[number].size = v->rec->body_size;
    found[number].copies++;
    return 0;
}

static void look(void)
{
    memset(found, 0, sizeof found);
    ck_assert_msg(spool_read_all(k->dir, true, on_record, NULL, &e) == 0, "%s",
                  e.text);
}

static void is_there(int number, enum spool_name queue, const char *rcpts)
{
    ck_assert(turn[number].answered && turn[number].why == 0);
    ck_assert_uint_eq(found[number].copies, 1);
    ck_assert_int_eq(found[number].queue, queue);
    ck_assert_str_eq(found[number].rcpts, rcpts);
    ck_assert(msg_id_eq(found[number].id, turn[number].id));
    ck_assert_uint_eq(turn[number].id.base & 1, queue == SPOOL_REMOTE);
}

static void is_refused(int number, int why)
{
    ck_assert(turn[number].answered);
    ck_assert_int_eq(turn[number].why, why);
    ck_assert_uint_eq(found[number].copies, 0);
}

/* Segments in that queue. */
static size_t files(const char *queue)
{
    char path[300];
    size_t n = 0;

    snprintf(path, sizeof path, "%s/%s", k->dir, queue);
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        n += strstr(f->d_name, ".seg") != NULL ||
             strstr(f->d_name, ".new") != NULL;
    closedir(d);
    return n;
}

START_TEST(a_turn_for_both_queues)
{
    submit(0, "l", 1000);
    submit(1, "r", 1000);
    submit(2, "rlr", 2000);
    submit(3, "rr", LARGE);
    submit(4, "hl", LARGE);
    submit(5, "h", 0);
    run(6);
    look();
    is_there(0, SPOOL_LOCAL, "l0");
    is_there(1, SPOOL_REMOTE, "r0");
    is_there(2, SPOOL_LOCAL, "r0 l1 r2");
    is_there(3, SPOOL_REMOTE, "r0 r1");
    is_there(4, SPOOL_LOCAL, "h0! l1");
    is_there(5, SPOOL_LOCAL, "h0!");
    ck_assert_uint_eq(found[2].size, 2000);
    ck_assert_uint_eq(found[3].size, LARGE);
    for (int a = 0; a < 6; a++)
        for (int b = a + 1; b < 6; b++)
            ck_assert(!msg_id_eq(turn[a].id, turn[b].id));
}
END_TEST

START_TEST(a_queue_without_mail_takes_no_room)
{
    static const char *const of[] = { "local", "remote" };
    int with = _i;

    ck_assert_uint_eq(files("local") + files("remote"), 0);
    submit(0, with == SPOOL_LOCAL ? "l" : "r", 1000);
    run(1);
    ck_assert_uint_eq(files(of[with]), 1);
    ck_assert_uint_eq(files(of[!with]), 0);
}
END_TEST

/* --- faults ---------------------------------------------------------------- */

static int failing_fd;

static int fail_sync(int fd)
{
    if (fd != failing_fd)
        return fs_system.fdatasync(fd);
    errno = EIO;
    return -1;
}

static void fail_syncs_of(enum spool_name queue)
{
    static struct fs_ops ops;

    ops = fs_system;
    ops.fdatasync = fail_sync;
    failing_fd = serve_commit_writer(commit, queue)->f.fd;
    fs_replace(&ops);
}

/* Messages of the other queue are stored, and the next turn is whole. */
START_TEST(one_queue_fails)
{
    bool local = _i == SPOOL_LOCAL;

    submit(0, "l", 1000);
    submit(1, "r", 1000);
    submit(2, "rl", 1000);
    fail_syncs_of((enum spool_name)_i);
    run(3);
    fs_replace(NULL);
    look();
    if (local) {
        is_refused(0, EIO);
        is_there(1, SPOOL_REMOTE, "r0");
        is_refused(2, EIO);
    } else {
        is_there(0, SPOOL_LOCAL, "l0");
        is_refused(1, EIO);
        is_there(2, SPOOL_LOCAL, "r0 l1");
    }
    submit(3, "r", 1000);
    submit(4, "l", 1000);
    run(2);
    look();
    is_there(3, SPOOL_REMOTE, "r0");
    is_there(4, SPOOL_LOCAL, "l0");
}
END_TEST

static ssize_t no_room_for_large(int fd, const struct iovec *v, int n, off_t at)
{
    if (fd == serve_commit_writer(commit, SPOOL_LOCAL)->f.fd)
        return fs_system.pwritev(fd, v, n, at);
    errno = ENOSPC;
    return -1;
}

/* A large message that finds no room for its end takes no other with it. */
START_TEST(one_message_fails)
{
    static struct fs_ops ops;

    submit(0, "l", 1000);
    submit(1, "l", LARGE);
    submit(2, "l", 1000);
    ops = fs_system;
    ops.pwritev = no_room_for_large;
    fs_replace(&ops);
    run(3);
    look();
    is_there(0, SPOOL_LOCAL, "l0");
    is_refused(1, ENOSPC);
    is_there(2, SPOOL_LOCAL, "l0");
}
END_TEST

/* The process ends before the turn does: nothing was promised. */
START_TEST(what_was_not_committed_leaves_no_trace)
{
    submit(0, "l", 1000);
    submit(1, "r", LARGE);
    serve_commit_close(&commit);
    ck_assert(!turn[0].answered && !turn[1].answered);
    ck_assert_uint_eq(files("local") + files("remote"), 0);
    ck_assert_int_eq(serve_commit_open(&commit, k->dir, on_done, &e), 0);
}
END_TEST

Suite *serve_commit_suite(void);
Suite *serve_commit_suite(void)
{
    Suite *s = suite_create("serve_commit");
    TCase *t = tcase_create("commit");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_turn_for_both_queues);
    tcase_add_loop_test(t, a_queue_without_mail_takes_no_room, 0, SPOOL_QUEUES);
    tcase_add_loop_test(t, one_queue_fails, 0, SPOOL_QUEUES);
    tcase_add_test(t, one_message_fails);
    tcase_add_test(t, what_was_not_committed_leaves_no_trace);
    suite_add_tcase(s, t);
    return s;
}
