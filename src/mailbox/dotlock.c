#include "mailbox/dotlock.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { DRAFT_MAX = 2048 };

static const char mark[] = "mta\n";

/* Make the file, with its content and its flock.  -1 with *e; then there is
 * none. */
static int make(int dir, const char *name, struct err *e)
{
    char text[32];
    int fd = fs_openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "lock %s", name);
    int n = snprintf(text, sizeof text, "%ld\n%s", (long)getpid(), mark);
    if (fs_lock(fd, LOCK_EX | LOCK_NB) == 0 &&
        fs_write_all(fd, text, (size_t)n) == 0)
        return fd;
    err_set(e, ERR_TEMP, errno, "lock %s", name);
    dotlock_release(dir, name, fd);
    return -1;
}

/* ".NAME.PID" beside the lock: the name of no mailbox. */
static void draft_name(char out[DRAFT_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    int above = slash == NULL ? 0 : (int)(slash - path) + 1;

    snprintf(out, DRAFT_MAX, "%.*s.%s.%ld", above, path, path + above,
             (long)getpid());
}

/* The lock comes into its place as a whole: a process that is killed at any
 * moment leaves none without content, which looks like that of another program.
 * A file system without such a rename (NFS) gets it in two steps. */
static int create(int dir, const char *path, struct err *e)
{
    char draft[DRAFT_MAX];

    draft_name(draft, path);
    int fd = make(dir, draft, e);
    if (fd < 0 && e->sys == EEXIST) { /* a killed process had the same pid */
        fs_unlinkat(dir, draft);
        fd = make(dir, draft, e);
    }
    if (fd < 0)
        return -1;
    if (fs_rename_new(dir, draft, dir, path) == 0)
        return fd;
    err_set(e, ERR_TEMP, errno, "lock %s", path);
    dotlock_release(dir, draft, fd);
    return e->sys == EINVAL ? make(dir, path, e) : -1;
}

static bool pid_lives(struct span text)
{
    unsigned long long pid;

    text.n = span_find(text, '\n');
    return span_u64(span_trim(text), 0x7fffffff, &pid) && pid > 0 &&
           (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

static bool has_mark(struct span text)
{
    size_t line = span_find(text, '\n') + 1;

    return text.n > line &&
           span_is((struct span){ text.p + line, text.n - line }, mark);
}

/* The lock is stale: this process has flocked fd, so two processes cannot both
 * come to that conclusion. */
static bool is_stale(int fd, const struct stat *st)
{
    char memory[64];
    ssize_t n = fs_pread(fd, memory, sizeof memory, 0);
    struct span text = { memory, n < 0 ? 0 : (size_t)n };

    if (n < 0)
        return false;
    if (has_mark(text))
        return true;
    long long now = (long long)(clock_wall_us() / 1000000);
    return now - (long long)st->st_mtime > DOTLOCK_STALE && !pid_lives(text);
}

/* True: the stale lock is gone, try again. */
static bool remove_stale(int dir, const char *path)
{
    struct stat held, there;
    bool gone = false;
    int fd = fs_openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

    if (fd < 0)
        return errno == ENOENT;
    if (fs_lock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &held) == 0 &&
        S_ISREG(held.st_mode) && is_stale(fd, &held) &&
        fstatat(dir, path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        there.st_ino == held.st_ino && there.st_dev == held.st_dev)
        gone = fs_unlinkat(dir, path) == 0;
    fs_close(fd);
    return gone;
}

static bool is_link(int dir, const char *path)
{
    struct stat st;

    return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISLNK(st.st_mode);
}

int dotlock_take(int dir, const char *path, struct err *e)
{
    struct err why;
    int fd = create(dir, path, &why);

    if (fd < 0 && why.sys == EEXIST && remove_stale(dir, path))
        fd = create(dir, path, &why);
    if (fd < 0 && why.sys == EEXIST && is_link(dir, path))
        err_set(&why, ERR_PERM, 0, "%s is a link", path);
    if (fd < 0 && e != NULL)
        *e = why;
    return fd;
}

void dotlock_release(int dir, const char *path, int fd)
{
    if (fs_unlinkat(dir, path) != 0)
        fs_unlinkat(dir, path); /* left here it would block other programs */
    fs_close(fd);
}
