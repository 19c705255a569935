/* test_base_fs.c - writing to the disk while somebody breaks it. */
#include "base/fs.h"

#include "base/clock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* What the saboteur does: interrupt the first calls, give or take at most
 * that many bytes a call, fail for good after that many bytes. */
static struct {
    int interrupts;
    size_t at_most, room;
    int fail_with; /* errno when the room is used up; 0: returns 0 */
    int calls, closes, syncs;
} plan;

static bool interrupted(void)
{
    plan.calls++;
    errno = EINTR;
    return plan.interrupts-- > 0;
}

/* How much of n may pass; 0: fail. */
static size_t allowed(size_t n)
{
    n = n < plan.at_most ? n : plan.at_most;
    n = n < plan.room ? n : plan.room;
    plan.room -= n;
    errno = plan.fail_with;
    return n;
}

static ssize_t refusal(void)
{
    return plan.fail_with == 0 ? 0 : -1;
}

static ssize_t bad_write(int fd, const void *p, size_t n)
{
    if (interrupted())
        return -1;
    n = allowed(n);
    return n == 0 ? refusal() : write(fd, p, n);
}

static ssize_t bad_pread(int fd, void *p, size_t n, off_t at)
{
    if (interrupted())
        return -1;
    n = allowed(n);
    return n == 0 ? refusal() : pread(fd, p, n, at);
}

static ssize_t bad_pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    static char bytes[4096];
    size_t have = 0;

    if (interrupted())
        return -1;
    for (int i = 0; i < n; i++) {
        ck_assert_uint_le(have + v[i].iov_len, sizeof bytes);
        memcpy(bytes + have, v[i].iov_base, v[i].iov_len);
        have += v[i].iov_len;
    }
    have = allowed(have);
    return have == 0 ? refusal() : pwrite(fd, bytes, have, at);
}

static int bad_open(const char *path, int flags, mode_t mode)
{
    return interrupted() ? -1 : open(path, flags, mode);
}

static int bad_close(int fd)
{
    plan.closes++;
    close(fd);
    return interrupted() ? -1 : 0;
}

static int bad_fd(int fd)
{
    (void)fd;
    plan.syncs++;
    if (interrupted())
        return -1;
    errno = plan.fail_with;
    return plan.fail_with == 0 ? 0 : -1;
}

static int bad_fd_size(int fd, off_t size)
{
    (void)size;
    return bad_fd(fd);
}

static int bad_lock(int fd, int operation)
{
    (void)operation;
    return bad_fd(fd);
}

static int bad_paths(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return bad_fd(-1);
}

static int bad_unlink(const char *path)
{
    (void)path;
    return bad_fd(-1);
}

static int bad_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return bad_fd(-1);
}

static int bad_openat(int at, const char *name, int flags, mode_t mode)
{
    (void)at;
    return bad_open(name, flags, mode);
}

static int bad_mkdirat(int at, const char *name, mode_t mode)
{
    (void)at;
    return bad_mkdir(name, mode);
}

static int bad_renameat(int at, const char *from, const char *to)
{
    (void)at;
    return bad_paths(from, to);
}

static const struct fs_ops saboteur = {
    .open = bad_open,
    .openat = bad_openat,
    .close = bad_close,
    .pwritev = bad_pwritev,
    .write = bad_write,
    .pread = bad_pread,
    .allocate = bad_fd_size,
    .truncate = bad_fd_size,
    .fdatasync = bad_fd,
    .fsync = bad_fd,
    .syncfs = bad_fd,
    .rename = bad_paths,
    .renameat = bad_renameat,
    .link = bad_paths,
    .unlink = bad_unlink,
    .mkdir = bad_mkdir,
    .mkdirat = bad_mkdirat,
    .lock = bad_lock,
};

static char dir[] = "/tmp/mta-fs-XXXXXX", path[64];
static int fd = -1;

static void setup(void)
{
    memcpy(dir, "/tmp/mta-fs-XXXXXX", sizeof dir);
    ck_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/file", dir);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    memset(&plan, 0, sizeof plan);
    plan.at_most = plan.room = SIZE_MAX;
}

static void teardown(void)
{
    fs_replace(NULL);
    if (fd >= 0)
        close(fd);
    unlink(path);
    rmdir(dir);
}

static bool file_is(const char *want, size_t n)
{
    char back[4096];
    ssize_t got = pread(fd, back, sizeof back, 0);

    return got == (ssize_t)n && memcmp(back, want, n) == 0;
}

/* --- each call is repeated on EINTR, and on nothing else ----------------- */

static int call_fdatasync(void)
{
    return fs_fdatasync(fd);
}
static int call_fsync(void)
{
    return fs_fsync(fd);
}
static int call_truncate(void)
{
    return fs_truncate(fd, 1);
}
static int call_allocate(void)
{
    return fs_allocate(fd, 1);
}
static int call_rename(void)
{
    return fs_rename("a", "b");
}
static int call_unlink(void)
{
    return fs_unlink("a");
}
static int call_mkdir(void)
{
    return fs_mkdir("a", 0700);
}
static int call_mkdirat(void)
{
    return fs_mkdirat(fd, "a", 0700);
}
static int call_renameat(void)
{
    return fs_renameat(fd, "a", "b");
}
static int call_lock(void)
{
    return fs_lock(fd, LOCK_EX);
}

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
    { "fdatasync", call_fdatasync }, { "fsync", call_fsync },
    { "truncate", call_truncate },   { "allocate", call_allocate },
    { "rename", call_rename },       { "unlink", call_unlink },
    { "mkdir", call_mkdir },         { "lock", call_lock },
    { "mkdirat", call_mkdirat },     { "renameat", call_renameat },
};

START_TEST(interrupted_calls)
{
    fs_replace(&saboteur);
    plan.interrupts = 3;
    ck_assert_msg(calls[_i].call() == 0, "%s", calls[_i].name);
    ck_assert_msg(plan.calls == 4, "%s: %d calls", calls[_i].name, plan.calls);
    plan.fail_with = EIO;
    plan.interrupts = plan.calls = 0;
    ck_assert_msg(calls[_i].call() == -1 && errno == EIO, "%s", calls[_i].name);
    ck_assert_msg(plan.calls == 1, "%s: tried again", calls[_i].name);
}
END_TEST

START_TEST(close_is_not_repeated)
{
    int other = open("/dev/null", O_RDONLY);

    fs_replace(&saboteur);
    plan.interrupts = 1;
    ck_assert_int_eq(fs_close(other), -1);
    ck_assert_int_eq(plan.closes, 1);
}
END_TEST

START_TEST(open_closes_on_exec)
{
    fs_replace(&saboteur);
    plan.interrupts = 2;
    int other = fs_open(path, O_RDONLY, 0);
    ck_assert_int_ge(other, 0);
    ck_assert(fcntl(other, F_GETFD) & FD_CLOEXEC);
    close(other);
}
END_TEST

/* --- short writes and reads ---------------------------------------------- */

static const char text[] = "The quick brown fox jumps over the lazy dog";
enum { LEN = sizeof text - 1 };

static int all_by_write(void)
{
    return fs_write_all(fd, text, LEN);
}

static int all_by_pwrite(void)
{
    return fs_pwrite_all(fd, text, LEN, 0);
}

/* Pieces of all lengths, empty ones at every end. */
static int all_by_pwritev(void)
{
    static const size_t cut[] = { 0, 0, 1, 1, 1, 9, 9, 26, 40, LEN, LEN, LEN };
    struct iovec v[COUNT(cut) - 1];

    for (size_t i = 0; i < COUNT(v); i++) {
        v[i].iov_base = (char *)(uintptr_t)text + cut[i];
        v[i].iov_len = cut[i + 1] - cut[i];
    }
    return fs_pwritev_all(fd, v, COUNT(v), 0);
}

static int (*const writers[])(void) = { all_by_write, all_by_pwrite,
                                        all_by_pwritev };

START_TEST(short_writes)
{
    for (size_t at_most = 1; at_most <= LEN; at_most++) {
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        lseek(fd, 0, SEEK_SET);
        fs_replace(&saboteur);
        plan.at_most = at_most;
        plan.interrupts = 2;
        plan.calls = 0;
        ck_assert_msg(writers[_i]() == 0, "way %d, %zu a call", _i, at_most);
        ck_assert_msg(file_is(text, LEN), "way %d, %zu a call", _i, at_most);
        ck_assert_int_eq(plan.calls, 2 + (int)((LEN + at_most - 1) / at_most));
    }
}
END_TEST

START_TEST(full_disk)
{
    for (size_t room = 0; room < LEN; room++) {
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        lseek(fd, 0, SEEK_SET);
        fs_replace(&saboteur);
        plan.at_most = 10;
        plan.room = room;
        plan.fail_with = ENOSPC;
        ck_assert_msg(writers[_i]() == -1 && errno == ENOSPC,
                      "way %d, room %zu: %d", _i, room, errno);
        ck_assert(file_is(text, room));
    }
}
END_TEST

/* A write that takes nothing must not be tried for ever. */
START_TEST(nothing_taken)
{
    fs_replace(&saboteur);
    plan.room = 5;
    ck_assert_int_eq(writers[_i](), -1);
    ck_assert_int_eq(errno, EIO);
}
END_TEST

START_TEST(nothing_to_write)
{
    struct iovec v[2] = { { (char *)(uintptr_t)text, 0 }, { NULL, 0 } };

    fs_replace(&saboteur);
    ck_assert_int_eq(fs_write_all(fd, text, 0), 0);
    ck_assert_int_eq(fs_pwrite_all(fd, text, 0, 0), 0);
    ck_assert_int_eq(fs_pwritev_all(fd, v, 0, 0), 0);
    ck_assert_int_eq(fs_pwritev_all(fd, v, 2, 0), 0);
    ck_assert_int_eq(fs_pread_all(fd, v, 0, 0), 0);
    ck_assert_int_eq(plan.calls, 0);
}
END_TEST

/* More vectors than the system takes at once, through the real call. */
START_TEST(many_vectors)
{
    static struct iovec v[IOV_MAX + 10];
    static char byte = 'x', want[COUNT(v)];

    for (size_t i = 0; i < COUNT(v); i++)
        v[i] = (struct iovec){ &byte, 1 };
    memset(want, 'x', sizeof want);
    ck_assert_int_eq(fs_pwritev_all(fd, v, COUNT(v), 0), 0);
    ck_assert(file_is(want, sizeof want));
}
END_TEST

START_TEST(short_reads)
{
    char back[LEN];

    ck_assert_int_eq(pwrite(fd, text, LEN, 0), LEN);
    for (size_t at_most = 1; at_most <= LEN; at_most++) {
        fs_replace(&saboteur);
        plan.at_most = at_most;
        plan.interrupts = 1;
        memset(back, 0, sizeof back);
        ck_assert_int_eq(fs_pread_all(fd, back, LEN - 3, 3), 0);
        ck_assert(memcmp(back, text + 3, LEN - 3) == 0);
    }
    errno = 0;
    ck_assert_int_eq(fs_pread_all(fd, back, LEN, 1), -1);
    ck_assert_int_eq(errno, EIO);
    plan.room = 4;
    plan.fail_with = EACCES;
    ck_assert_int_eq(fs_pread_all(fd, back, LEN, 0), -1);
    ck_assert_int_eq(errno, EACCES);
}
END_TEST

/* --- directories and the real calls -------------------------------------- */

START_TEST(sync_dir)
{
    fs_replace(&saboteur);
    ck_assert_int_eq(fs_sync_dir(dir), 0);
    ck_assert_int_eq(plan.syncs, 1);
    ck_assert_int_eq(plan.closes, 1);
    plan.fail_with = ENOSPC; /* and closing does not hide it */
    ck_assert_int_eq(fs_sync_dir(dir), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(plan.closes, 2);
    ck_assert_int_eq(fs_sync_dir(path), -1);
    ck_assert_int_eq(errno, ENOTDIR);
    ck_assert_int_eq(fs_sync_dir("/tmp/mta-no-such-directory"), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(plan.closes, 2);
    fs_replace(NULL);
    ck_assert_int_eq(fs_sync_dir(dir), 0);
    ck_assert_int_eq(plan.syncs, 2);
}
END_TEST

START_TEST(sync_above)
{
    fs_replace(&saboteur);
    ck_assert_int_eq(fs_sync_above("/tmp/a"), 0); /* it need not be there */
    ck_assert_int_eq(plan.syncs, 2);              /* /tmp and / */
    ck_assert_int_eq(fs_sync_above("a"), 0);
    ck_assert_int_eq(plan.syncs, 3);
    ck_assert_int_eq(fs_sync_above("/"), 0);
    ck_assert_int_eq(plan.syncs, 3);
    ck_assert_int_eq(fs_sync_above("/tmp/mta-no-such-directory/a"), -1);
    ck_assert_int_eq(errno, ENOENT);
    plan.fail_with = EACCES;
    ck_assert_int_eq(fs_sync_above("/tmp/a"), 0);
    ck_assert_int_eq(plan.syncs, 5);
    plan.fail_with = EIO;
    ck_assert_int_eq(fs_sync_above("/tmp/a"), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(plan.closes, plan.syncs);
    fs_replace(NULL);
}
END_TEST

START_TEST(real_calls)
{
    char other[80];
    struct stat st;

    snprintf(other, sizeof other, "%s/other", dir);
    ck_assert_int_eq(fs_allocate(fd, 10000), 0);
    ck_assert(fstat(fd, &st) == 0 && st.st_size == 10000);
    ck_assert_int_eq(fs_truncate(fd, 10), 0);
    ck_assert(fstat(fd, &st) == 0 && st.st_size == 10);
    ck_assert_int_eq(fs_allocate(-1, 10), -1); /* it sets errno itself */
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(fs_rename(path, other), 0);
    ck_assert_int_eq(fs_rename(other, path), 0);
    ck_assert_int_eq(fs_unlink(other), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(fs_fdatasync(fd), 0);
    int again = fs_open(path, O_RDONLY, 0);
    ck_assert_int_eq(fs_lock(fd, LOCK_EX | LOCK_NB), 0);
    ck_assert_int_eq(fs_lock(again, LOCK_EX | LOCK_NB), -1);
    ck_assert_int_eq(errno, EWOULDBLOCK);
    ck_assert_int_eq(fs_close(again), 0);
}
END_TEST

static void make_anew(void)
{
    close(fd);
    unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
}

/* The same name, and often the same inode number. */
START_TEST(identity)
{
    struct fs_identity id = { 0 };

    ck_assert(!fs_is_same(&id, AT_FDCWD, path));
    ck_assert(fs_is_same(&id, AT_FDCWD, path));
    ck_assert_int_eq(write(fd, "x", 1), 1);
    ck_assert(fs_is_same(&id, fd, ""));
    /* Times of birth are those of the clock's last tick. */
    struct fs_identity was = id;
    uint64_t until = clock_mono_ms() + 1000;
    do
        make_anew();
    while (fs_is_same(&id, AT_FDCWD, path) && clock_mono_ms() < until);
    ck_assert(id.ino != was.ino || was.born == 0 || id.born > was.born);
    ck_assert(fs_is_same(&id, AT_FDCWD, path));
    unlink(path);
    ck_assert(!fs_is_same(&id, AT_FDCWD, path));
    ck_assert(!fs_is_same(&id, AT_FDCWD, path));
}
END_TEST

Suite *base_fs_suite(void);
Suite *base_fs_suite(void)
{
    Suite *s = suite_create("base.fs");
    TCase *t = tcase_create("fs");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, interrupted_calls, 0, COUNT(calls));
    tcase_add_test(t, close_is_not_repeated);
    tcase_add_test(t, open_closes_on_exec);
    tcase_add_loop_test(t, short_writes, 0, COUNT(writers));
    tcase_add_loop_test(t, full_disk, 0, COUNT(writers));
    tcase_add_loop_test(t, nothing_taken, 0, COUNT(writers));
    tcase_add_test(t, nothing_to_write);
    tcase_add_test(t, many_vectors);
    tcase_add_test(t, short_reads);
    tcase_add_test(t, sync_dir);
    tcase_add_test(t, sync_above);
    tcase_add_test(t, real_calls);
    tcase_add_test(t, identity);
    suite_add_tcase(s, t);
    return s;
}
