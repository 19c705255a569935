/* test_queue_history.c - the ring of what happened, written and read. */
#include "queue/history.h"

#include "base/fs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 64 * 4096 /* the least */, HEAD = 4096 };

static char dir[] = "/tmp/mta-history-XXXXXX", path[128];
static struct err e;

static void setup(void)
{
    char local[128];

    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(local, sizeof local, "%s/local", dir);
    snprintf(path, sizeof path, "%s/local/history", dir);
    ck_assert_int_eq(mkdir(local, 0700), 0);
}

static void teardown(void)
{
    char command[160];

    unlink(path);
    snprintf(command, sizeof command, "%s/local", dir);
    rmdir(command);
    rmdir(dir);
}

static struct history *open_ring(uint64_t size)
{
    struct history *h;

    ck_assert_msg(history_open(&h, dir, SPOOL_LOCAL, size, &e) == 0, "%s",
                  e.text);
    return h;
}

static struct history_event event(uint64_t n)
{
    static char reply[8192];
    struct history_event ev = { .kind = HISTORY_DEFERRED,
                                .verified = n % 2 == 0,
                                .when = 1000 + n,
                                .next = n % 3,
                                .id = { 77, (uint32_t)(n % 5) },
                                .part = n,
                                .slot = (uint32_t)n,
                                .attempts = 3,
                                .status = { 450, 4, 2, 1 },
                                .tls_version = 0x0304,
                                .sender = SPAN_LIT("a@b.test") };

    ck_assert(addr_parse_ip(&ev.peer, SPAN_LIT("192.0.2.1"), 25));
    memset(reply, 'x', sizeof reply);
    ev.rcpt = n % 2 ? SPAN_LIT("joe@x.test") : SPAN_LIT("");
    ev.host = SPAN_LIT("mx.x.test");
    ev.reply = (struct span){ reply, (size_t)(n * 37 % 700) };
    return ev;
}

static void add(struct history *h, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n < to; n++) {
        struct history_event ev = event(n);
        history_add(h, &ev);
        if (n % 7 == 0)
            ck_assert_int_eq(history_flush(h, &e), 0);
    }
    ck_assert_int_eq(history_flush(h, &e), 0);
}

struct seen {
    uint64_t n, first, last;
    bool gap;
};

static int check(void *ctx, const struct history_event *ev)
{
    struct seen *s = ctx;
    struct history_event want = event(ev->part);

    ck_assert_int_eq(ev->kind, want.kind);
    ck_assert(ev->when == want.when && ev->next == want.next);
    ck_assert(msg_id_eq(ev->id, want.id) && ev->slot == want.slot);
    ck_assert(ev->verified == want.verified && !ev->cut);
    ck_assert(span_eq(ev->rcpt, want.rcpt) && span_eq(ev->host, want.host));
    ck_assert(span_eq(ev->reply, want.reply));
    ck_assert(ev->status.detail == 1 && ev->tls_version == 0x0304);
    ck_assert(addr_eq(&ev->peer, &want.peer));
    s->gap |= s->n > 0 && ev->part != s->last + 1;
    ck_assert(s->n == 0 || ev->part > s->last);
    if (s->n++ == 0)
        s->first = ev->part;
    s->last = ev->part;
    return 0;
}

static struct seen read_all(const struct history_query *q)
{
    static const struct history_query all = { NULL, 0 };
    struct seen s = { 0, 0, 0, false };

    ck_assert_int_eq(
        history_read(dir, SPOOL_LOCAL, q != NULL ? q : &all, check, &s, &e), 0);
    return s;
}

START_TEST(all_that_was_written)
{
    struct history *h = open_ring(SIZE);

    ck_assert_uint_eq(read_all(NULL).n, 0);
    add(h, 0, 100);
    struct seen s = read_all(NULL);
    ck_assert(s.n == 100 && s.first == 0 && !s.gap);
    history_close(&h);
    h = open_ring(SIZE); /* a later life goes on */
    add(h, 100, 200);
    s = read_all(NULL);
    ck_assert(s.n == 200 && s.last == 199 && !s.gap);
    history_close(&h);
}
END_TEST

START_TEST(the_oldest_are_forgotten)
{
    struct history *h = open_ring(SIZE);
    struct stat st;

    for (uint64_t n = 0; n < 5000; n += 500) {
        add(h, n, n + 500);
        struct seen s = read_all(NULL);
        ck_assert(s.last == n + 499 && !s.gap);
        ck_assert(n < 1500 || s.first > 0);
        if (n % 1000 == 0) {
            history_close(&h);
            h = open_ring(SIZE);
        }
    }
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_le(st.st_size, SIZE + 4096);
    history_close(&h);
}
END_TEST

START_TEST(of_one_message_and_since)
{
    const struct msg_id id = { 77, 3 };
    struct history *h = open_ring(SIZE);

    add(h, 0, 300);
    struct history_query q = { .id = &id };
    ck_assert_uint_eq(read_all(&q).n, 60);
    q = (struct history_query){ .since = 1000 + 250 };
    struct seen s = read_all(&q);
    ck_assert(s.n == 50 && s.first == 250);
    history_close(&h);
}
END_TEST

/* Damage costs its block alone, and the ring goes on. */
START_TEST(damage)
{
    struct history *h = open_ring(SIZE);

    add(h, 0, 200);
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "?", 1, 3 * 4096 + 500), 1);
    struct seen s = read_all(NULL);
    ck_assert(s.n > 150 && s.n < 200 && s.gap && s.last == 199);
    ck_assert_int_eq(ftruncate(fd, 5 * 4096 + 77), 0);
    s = read_all(NULL);
    ck_assert(s.n > 20);
    ck_assert_int_eq(ftruncate(fd, 10), 0); /* no ring any more */
    ck_assert_uint_eq(read_all(NULL).n, 0);
    history_close(&h);
    h = open_ring(SIZE);
    add(h, 0, 10);
    ck_assert_uint_eq(read_all(NULL).n, 10);
    history_close(&h);
    close(fd);
}
END_TEST

START_TEST(another_size_begins_anew)
{
    struct history *h = open_ring(SIZE);

    add(h, 0, 50);
    history_close(&h);
    h = open_ring(2 * SIZE);
    ck_assert_uint_eq(read_all(NULL).n, 0);
    add(h, 0, 10);
    ck_assert_uint_eq(read_all(NULL).n, 10);
    history_close(&h);
    h = open_ring(0);
    ck_assert_ptr_null(h);
    struct history_event ev = event(1);
    history_add(h, &ev);
    ck_assert_int_eq(history_flush(h, &e), 0);
    history_close(&h);
}
END_TEST

static int is_cut(void *ctx, const struct history_event *ev)
{
    ck_assert(ev->cut && ev->reply.n == 2048 && ev->host.n == 300);
    ++*(int *)ctx;
    return 0;
}

START_TEST(what_is_too_long_is_cut)
{
    static char text[9000];
    struct history *h = open_ring(SIZE);
    struct history_event ev = event(1);
    const struct history_query all = { NULL, 0 };
    int n = 0;

    ev.reply = ev.host = (struct span){ text, sizeof text };
    history_add(h, &ev);
    ck_assert_int_eq(history_flush(h, &e), 0);
    ck_assert_int_eq(history_read(dir, SPOOL_LOCAL, &all, is_cut, &n, &e), 0);
    ck_assert_int_eq(n, 1);
    history_close(&h);
}
END_TEST

/* Fail the writes of so many events and of one more; the limit is the whole
 * process's, so nothing is checked meanwhile. */
static void fill_up(struct history *h, uint64_t many, int rc[2], int *sys)
{
    struct rlimit now, little;
    struct history_event ev = event(1);

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &now), 0);
    little = (struct rlimit){ HEAD, now.rlim_max };
    (void)setrlimit(RLIMIT_FSIZE, &little);
    for (uint64_t n = 0; n < many; n++)
        history_add(h, &ev);
    rc[0] = history_flush(h, &e);
    *sys = e.sys;
    history_add(h, &ev);
    rc[1] = history_flush(h, &e);
    (void)setrlimit(RLIMIT_FSIZE, &now);
}

/* A full disk is reported once, also when the turn was too long to wait for its
 * end; and once more when it fails again. */
START_TEST(no_room)
{
    struct history *h = open_ring(SIZE);
    struct history_event ev = event(1);

    signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 4; i++) {
        int rc[2] = { 0, 0 }, sys = 0;
        fill_up(h, i % 2 == 0 ? 1 : 2000, rc, &sys); /* a turn holds some 500 */
        ck_assert_int_eq(rc[0], -1);
        ck_assert_int_eq(sys, EFBIG);
        ck_assert_int_eq(rc[1], 0);
        history_add(h, &ev);
        ck_assert_int_eq(history_flush(h, &e), 0);
        ck_assert(!history_waits(h));
    }
    history_close(&h);
}
END_TEST

static int no_truncate(int fd, off_t size)
{
    (void)fd;
    (void)size;
    errno = ENOSPC;
    return -1;
}

static ssize_t no_write(int fd, const struct iovec *v, int n, off_t at)
{
    (void)fd;
    (void)v;
    (void)n;
    (void)at;
    errno = EDQUOT;
    return -1;
}

/* A ring of another size, or none, on a disk that is full: it is begun when
 * there is room, with what is to be written then; this time too, when that is
 * more than one block. */
static void add_one(struct history *h, uint64_t n)
{
    struct history_event ev = event(n);

    history_add(h, &ev);
}

START_TEST(begun_when_there_is_room)
{
    struct fs_ops ops = fs_system;
    struct history *h = open_ring(2 * SIZE);
    uint64_t n = 10, many = _i < 2 ? 113 : 13;

    add(h, 0, n);
    history_close(&h);
    if (_i % 2 == 0)
        ops.truncate = no_truncate;
    else
        ops.pwritev = no_write;
    fs_replace(&ops);
    ck_assert_int_eq(history_open(&h, dir, SPOOL_LOCAL, SIZE, &e), -1);
    ck_assert_int_eq(e.sys, _i % 2 == 0 ? ENOSPC : EDQUOT);
    ck_assert_ptr_nonnull(h);
    for (; n < 13; n++) { /* reported above */
        add_one(h, n);
        ck_assert_int_eq(history_flush(h, &e), 0);
    }
    for (; n < many; n++)
        add_one(h, n);
    ck_assert_int_eq(history_flush(h, &e), 0);
    fs_replace(NULL);
    for (; n < 130; n++)
        add_one(h, n);
    ck_assert_int_eq(history_flush(h, &e), 0);
    add(h, n, 150);
    struct seen s = read_all(NULL);
    ck_assert_msg(s.last == 149 && s.n >= 150 - many && !s.gap, "%u up to %u",
                  (unsigned)s.n, (unsigned)s.last);
    history_close(&h);
    h = open_ring(SIZE);
    ck_assert_uint_eq(read_all(NULL).last, 149);
    history_close(&h);
}
END_TEST

/* A tool takes a ring as it is, and makes none. */
START_TEST(as_it_is)
{
    struct history *h = open_ring(HISTORY_AS_IT_IS);
    struct stat st;

    ck_assert_ptr_null(h);
    ck_assert_int_ne(stat(path, &st), 0);
    h = open_ring(2 * SIZE);
    add(h, 0, 10);
    history_close(&h);
    h = open_ring(HISTORY_AS_IT_IS);
    add(h, 10, 20);
    history_close(&h);
    ck_assert_uint_eq(read_all(NULL).n, 20);
    h = open_ring(2 * SIZE);
    ck_assert_uint_eq(read_all(NULL).n, 20);
    history_close(&h);
    ck_assert_int_eq(truncate(path, 3), 0);
    ck_assert_ptr_null(open_ring(HISTORY_AS_IT_IS));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 3);
}
END_TEST

START_TEST(since_when_it_has_all)
{
    ck_assert(history_since(dir, SPOOL_LOCAL) == UINT64_MAX);
    struct history *h = open_ring(SIZE);

    ck_assert_uint_eq(history_since(dir, SPOOL_LOCAL), 0);
    add(h, 0, 100);
    ck_assert_uint_eq(history_since(dir, SPOOL_LOCAL), 0);
    add(h, 100, 5000);
    ck_assert_uint_eq(history_since(dir, SPOOL_LOCAL),
                      1000 + read_all(NULL).first);
    history_close(&h);
}
END_TEST

/* A link or a FIFO in its place is not followed. */
START_TEST(no_file)
{
    struct history *h;

    ck_assert_int_eq(symlink("/dev/null", path), 0);
    ck_assert_int_eq(history_open(&h, dir, SPOOL_LOCAL, SIZE, &e), -1);
    ck_assert_ptr_null(h);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(history_open(&h, dir, SPOOL_LOCAL, SIZE, &e), -1);
    ck_assert_ptr_null(h);
}
END_TEST

Suite *queue_history_suite(void);
Suite *queue_history_suite(void)
{
    Suite *s = suite_create("queue.history");
    TCase *t = tcase_create("ring");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, all_that_was_written);
    tcase_add_test(t, the_oldest_are_forgotten);
    tcase_add_test(t, of_one_message_and_since);
    tcase_add_test(t, damage);
    tcase_add_test(t, another_size_begins_anew);
    tcase_add_test(t, what_is_too_long_is_cut);
    tcase_add_test(t, no_room);
    tcase_add_loop_test(t, begun_when_there_is_room, 0, 4);
    tcase_add_test(t, as_it_is);
    tcase_add_test(t, since_when_it_has_all);
    tcase_add_test(t, no_file);
    suite_add_tcase(s, t);
    return s;
}
