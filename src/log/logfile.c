/* logfile.c - the log file. */
#include "log/logfile.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int logfile_open(const char *path, int extra, struct err *e)
{
    const int flags = O_APPEND | O_CREAT | O_NOCTTY | extra;

    if (strcmp(path, "-") == 0)
        return STDOUT_FILENO;
    int fd = fs_open(path, O_RDWR | flags, 0640);
    if (fd < 0 && errno == EACCES)
        fd = fs_open(path, O_WRONLY | flags, 0640);
    return fd >= 0 ? fd : err_set(e, ERR_PERM, errno, "open log file %s", path);
}

/* Does the file end within a line, as after a power cut? */
static bool ends_torn(int fd, off_t size)
{
    char last;

    return size > 0 && fs_pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

int logfile_use(struct logfile *s, const char *path, int fd, struct err *e)
{
    bool is_stdout = strcmp(path, "-") == 0;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_PERM, errno, "stat log file %s", path);
    logfile_close(s);
    s->fd = fd;
    /* Standard output shares its offset with other processes, so it is a stream
     * in any case. */
    s->regular = S_ISREG(st.st_mode) && !is_stdout;
    s->torn = s->regular && ends_torn(fd, st.st_size);
    return 0;
}

void logfile_close(struct logfile *s)
{
    if (s->fd >= 0 && s->fd != STDOUT_FILENO)
        fs_close(s->fd);
    s->fd = -1;
}

/* Does the file have these bytes at that offset? */
static bool holds(int fd, const char *want, size_t n, off_t at)
{
    char got[4096];

    for (size_t i = 0; i < n; i += sizeof got) {
        size_t part = n - i < sizeof got ? n - i : sizeof got;
        if (fs_pread_all(fd, got, part, at + (off_t)i) != 0 ||
            memcmp(got, want + i, part) != 0)
            return false;
    }
    return true;
}

size_t logfile_find(const struct logfile *s, const struct inflight *p,
                    const char *batch, size_t n)
{
    const struct inflight_page *g = p->page;
    size_t skip = g->skip <= n ? (size_t)g->skip : n;
    struct stat st;

    if (!s->regular || !g->placed || fstat(s->fd, &st) != 0 ||
        g->dev != st.st_dev || g->ino != st.st_ino ||
        (uint64_t)st.st_size < g->at)
        return skip;
    uint64_t there = (uint64_t)st.st_size - g->at;
    size_t m = there < n - skip ? (size_t)there : n - skip;
    return holds(s->fd, batch + skip, m, (off_t)g->at) ? skip + m : skip;
}

int logfile_place(struct logfile *s, struct inflight *p)
{
    struct stat st;

    if (!s->regular)
        return 0;
    if (s->torn && fs_write(s->fd, "\n", 1) != 1)
        return -1;
    s->torn = false;
    if (fstat(s->fd, &st) != 0)
        return -1;
    inflight_place(p, st.st_dev, st.st_ino, (uint64_t)st.st_size);
    return 0;
}

/* A pipe accepts up to PIPE_BUF bytes atomically. */
static size_t stream_part(const char *p, size_t n)
{
    if (n <= PIPE_BUF)
        return n;
    size_t part = PIPE_BUF;
    while (part > 0 && p[part - 1] != '\n')
        part--;
    if (part > 0)
        return part;
    const char *end = memchr(p, '\n', n);
    return end != NULL ? (size_t)(end + 1 - p) : n;
}

ssize_t logfile_write(const struct logfile *s, const char *p, size_t n)
{
    ssize_t done = fs_write(s->fd, p, s->regular ? n : stream_part(p, n));

    if (done == 0)
        errno = EIO;
    return done > 0 ? done : -1;
}

size_t logfile_take_back(struct logfile *s, const char *batch, size_t done)
{
    size_t whole = done;
    struct stat st;

    while (whole > 0 && batch[whole - 1] != '\n')
        whole--;
    if (!s->regular || whole == done)
        return whole;
    /* Only if no other process has written behind it. */
    off_t half = (off_t)(done - whole);
    s->torn = fstat(s->fd, &st) != 0 || st.st_size < half ||
              !holds(s->fd, batch + whole, done - whole, st.st_size - half) ||
              fs_truncate(s->fd, st.st_size - half) != 0;
    return whole;
}
