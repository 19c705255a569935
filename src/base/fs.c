#include "base/fs.h"

#include "base/fs_type.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

static int sys_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int sys_openat(int dir, const char *name, int flags, mode_t mode)
{
    return openat(dir, name, flags, mode);
}

static int sys_unnamed(int dir, mode_t mode)
{
    return openat(dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
}

static int sys_renameat(int dir, const char *from, const char *to)
{
    return renameat(dir, from, dir, to);
}

static int sys_rename_new(int from_dir, const char *from, int to_dir,
                          const char *to)
{
    return renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
}

/* By the descriptor itself, as Linux 6.10 lets the identity do that opened it,
 * or by the name that the system gives to descriptors.  (An identity that was
 * taken again is another one, so it is always the second with system users.) */
static int sys_name(int fd, int dir, const char *name)
{
    static bool by_path; /* known to be necessary */
    char path[32];

    if (!by_path && linkat(fd, "", dir, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (!by_path && errno != ENOENT)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW);
    by_path = by_path || rc == 0;
    return rc;
}

static int sys_unlinkat(int dir, const char *name)
{
    return unlinkat(dir, name, 0);
}

static int sys_allocate(int fd, off_t size)
{
    int rc = posix_fallocate(fd, 0, size);

    errno = rc;
    return rc == 0 ? 0 : -1;
}

static bool syncfs_reports;

static void look_at_kernel(void)
{
    struct utsname u;
    int major = 0, minor = 0;

    if (uname(&u) == 0 && strcmp(u.sysname, "Linux") == 0 &&
        sscanf(u.release, "%d.%d", &major, &minor) == 2)
        syncfs_reports = major > 5 || (major == 5 && minor >= 8);
}

/* Types are 32 bits, which some machines keep in a signed word. */
static int sys_magic(int fd, unsigned long *magic)
{
    struct statfs st;

    if (fstatfs(fd, &st) != 0)
        return -1;
    *magic = (unsigned long)st.f_type & 0xffffffffu;
    return 0;
}

static int sys_syncfs(int fd)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, look_at_kernel);
    unsigned long magic;
    if (syncfs_reports && sys_magic(fd, &magic) == 0 &&
        fs_type_keeps_syncfs(fs_type_by_magic(magic)))
        return syncfs(fd);
    errno = ENOSYS;
    return -1;
}

const struct fs_ops fs_system = {
    .open = sys_open,
    .openat = sys_openat,
    .unnamed = sys_unnamed,
    .close = close,
    .pwritev = pwritev,
    .write = write,
    .pread = pread,
    .allocate = sys_allocate,
    .truncate = ftruncate,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .syncfs = sys_syncfs,
    .rename = rename,
    .renameat = sys_renameat,
    .rename_new = sys_rename_new,
    .link = link,
    .name = sys_name,
    .unlink = unlink,
    .unlinkat = sys_unlinkat,
    .mkdir = mkdir,
    .mkdirat = mkdirat,
    .lock = flock,
    .magic = sys_magic,
};

static const struct fs_ops *ops = &fs_system;

void fs_replace(const struct fs_ops *with)
{
    ops = with == NULL ? &fs_system : with;
}

/* Repeat a call that a signal interrupted. */
#define AGAIN(type, call)                                                      \
    do {                                                                       \
        type rc_;                                                              \
        do                                                                     \
            rc_ = (call);                                                      \
        while (rc_ < 0 && errno == EINTR);                                     \
        return rc_;                                                            \
    } while (0)

int fs_open(const char *path, int flags, mode_t mode)
{
    AGAIN(int, ops->open(path, flags | O_CLOEXEC, mode));
}

int fs_openat(int dir, const char *name, int flags, mode_t mode)
{
    AGAIN(int, ops->openat(dir, name, flags | O_CLOEXEC, mode));
}

int fs_unnamed(int dir, mode_t mode)
{
    AGAIN(int, ops->unnamed(dir, mode));
}

int fs_name(int fd, int dir, const char *name)
{
    AGAIN(int, ops->name(fd, dir, name));
}

/* Not repeated: on Linux the descriptor is gone even when close() returns
 * EINTR, and a second close could hit a descriptor of another thread. */
int fs_close(int fd)
{
    return ops->close(fd);
}

static ssize_t pwritev_again(int fd, const struct iovec *v, int n, off_t at)
{
    AGAIN(ssize_t, ops->pwritev(fd, v, n, at));
}

ssize_t fs_write(int fd, const void *p, size_t n)
{
    AGAIN(ssize_t, ops->write(fd, p, n));
}

ssize_t fs_pread(int fd, void *p, size_t n, off_t at)
{
    AGAIN(ssize_t, ops->pread(fd, p, n, at));
}

int fs_allocate(int fd, off_t size)
{
    AGAIN(int, ops->allocate(fd, size));
}

int fs_truncate(int fd, off_t size)
{
    AGAIN(int, ops->truncate(fd, size));
}

int fs_fdatasync(int fd)
{
    AGAIN(int, ops->fdatasync(fd));
}

int fs_fsync(int fd)
{
    AGAIN(int, ops->fsync(fd));
}

int fs_syncfs(int fd)
{
    AGAIN(int, ops->syncfs(fd));
}

void fs_start_sync(int fd)
{
    if (ops == &fs_system)
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int fs_rename(const char *from, const char *to)
{
    AGAIN(int, ops->rename(from, to));
}

int fs_renameat(int dir, const char *from, const char *to)
{
    AGAIN(int, ops->renameat(dir, from, to));
}

int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    AGAIN(int, ops->rename_new(from_dir, from, to_dir, to));
}

int fs_unlinkat(int dir, const char *name)
{
    AGAIN(int, ops->unlinkat(dir, name));
}

int fs_unlink(const char *path)
{
    AGAIN(int, ops->unlink(path));
}

int fs_mkdir(const char *path, mode_t mode)
{
    AGAIN(int, ops->mkdir(path, mode));
}

int fs_mkdirat(int dir, const char *name, mode_t mode)
{
    AGAIN(int, ops->mkdirat(dir, name, mode));
}

int fs_lock(int fd, int operation)
{
    AGAIN(int, ops->lock(fd, operation));
}

int fs_magic(int fd, unsigned long *magic)
{
    AGAIN(int, ops->magic(fd, magic));
}

int fs_pwritev_all(int fd, struct iovec *v, int n, off_t at)
{
    for (;;) {
        for (; n > 0 && v->iov_len == 0; v++)
            n--;
        if (n <= 0)
            return 0;
        ssize_t done = pwritev_again(fd, v, n < IOV_MAX ? n : IOV_MAX, at);
        if (done < 0)
            return -1;
        if (done == 0) {
            errno = EIO;
            return -1;
        }
        at += done;
        for (; n > 0 && (size_t)done >= v->iov_len; v++, n--)
            done -= (ssize_t)v->iov_len;
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + done;
            v->iov_len -= (size_t)done;
        }
    }
}

int fs_pwrite_all(int fd, const void *p, size_t n, off_t at)
{
    struct iovec v = { (void *)(uintptr_t)p, n };

    return n == 0 ? 0 : fs_pwritev_all(fd, &v, 1, at);
}

int fs_write_all(int fd, const void *p, size_t n)
{
    const char *from = p;

    while (n > 0) {
        ssize_t done = fs_write(fd, from, n);
        if (done < 0)
            return -1;
        if (done == 0) {
            errno = EIO;
            return -1;
        }
        from += done;
        n -= (size_t)done;
    }
    return 0;
}

int fs_pread_all(int fd, void *p, size_t n, off_t at)
{
    char *to = p;

    while (n > 0) {
        ssize_t done = fs_pread(fd, to, n, at);
        if (done < 0)
            return -1;
        if (done == 0) {
            errno = EIO;
            return -1;
        }
        to += done;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

int fs_sync_dir(const char *path)
{
    int fd = fs_open(path, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return -1;
    int rc = fs_fsync(fd);
    int why = errno;
    fs_close(fd);
    errno = why;
    return rc;
}

/* Errors of directories that belong to others or cannot change. */
static bool not_ours(int why)
{
    return why == EACCES || why == EPERM || why == EROFS || why == EINVAL;
}

int fs_sync_above(const char *path)
{
    char above[PATH_MAX];
    size_t n = strlen(path);

    if (n >= sizeof above) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(above, path, n + 1);
    while (strcmp(above, "/") != 0 && strcmp(above, ".") != 0) {
        char *slash = strrchr(above, '/');
        if (slash == NULL)
            snprintf(above, sizeof above, ".");
        else
            slash[slash == above] = '\0';
        if (fs_sync_dir(above) != 0 && !not_ours(errno))
            return -1;
    }
    return 0;
}

bool fs_is_same(struct fs_identity *id, int fd, const char *path)
{
    struct fs_identity before = *id;
    struct statx now;

    *id = (struct fs_identity){ 0 };
    if (statx(fd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
              STATX_INO | STATX_BTIME, &now) != 0)
        return false;
    id->dev = makedev(now.stx_dev_major, now.stx_dev_minor);
    id->ino = now.stx_ino;
    if ((now.stx_mask & STATX_BTIME) != 0)
        id->born =
            (uint64_t)now.stx_btime.tv_sec * 1000000000 + now.stx_btime.tv_nsec;
    return before.ino != 0 && before.dev == id->dev && before.ino == id->ino &&
           before.born == id->born;
}
