/* show.c - print lines of a log file. */
#include "base/fs.h"
#include "base/os.h"
#include "log/collector.h"
#include "log/line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PART = 64 * 1024, /* longer lines, which mta never writes, are split */
    TAIL_LINES = 10,
    FOLLOW_US = 200000
};

struct show {
    const char *file, *id, *sid;
    int fd;
    off_t at;
    size_t n; /* the start of a line, read and not yet printed */
    char bytes[PART];
};

static int print(const struct show *s, struct span line, struct err *e)
{
    if ((s->id != NULL && !log_line_has(line, "id", s->id)) ||
        (s->sid != NULL && !log_line_has(line, "sid", s->sid)))
        return 0;
    if (fwrite(line.p, 1, line.n, stdout) != line.n)
        return err_set(e, ERR_TEMP, errno, "standard output");
    return 0;
}

static int print_lines(struct show *s, struct err *e)
{
    size_t from = 0;

    for (;;) {
        struct span rest = { s->bytes + from, s->n - from };
        size_t end = span_find(rest, '\n');
        if (end == rest.n && rest.n < PART)
            break;
        rest.n = end < rest.n ? end + 1 : end;
        if (print(s, rest, e) != 0)
            return -1;
        from += rest.n;
    }
    s->n -= from;
    memmove(s->bytes, s->bytes + from, s->n);
    return 0;
}

/* Print all whole lines; keep a line without its end for the next call. */
static int print_new(struct show *s, struct err *e)
{
    for (;;) {
        ssize_t n = fs_pread(s->fd, s->bytes + s->n, PART - s->n, s->at);
        if (n < 0)
            return err_set(e, ERR_TEMP, errno, "read %s", s->file);
        if (n == 0)
            break;
        s->at += n;
        s->n += (size_t)n;
        if (print_lines(s, e) != 0)
            return -1;
    }
    if (fflush(stdout) != 0)
        return err_set(e, ERR_TEMP, errno, "standard output");
    return 0;
}

static int open_file(struct show *s, struct err *e)
{
    s->fd = fs_open(s->file, O_RDONLY, 0);
    s->at = 0;
    s->n = 0;
    return s->fd >= 0 ? 0 : err_set(e, ERR_USAGE, errno, "open %s", s->file);
}

/* The offset where the last lines begin. */
static off_t tail(const struct show *s)
{
    char part[4096];
    struct stat st;
    int lines = 0;

    if (fstat(s->fd, &st) != 0)
        return 0;
    for (off_t end = st.st_size; end > 0;) {
        size_t n = end < (off_t)sizeof part ? (size_t)end : sizeof part;
        end -= (off_t)n;
        if (fs_pread_all(s->fd, part, n, end) != 0)
            return 0;
        for (size_t i = n; i-- > 0;)
            if (part[i] == '\n' && ++lines > TAIL_LINES)
                return end + (off_t)i + 1;
    }
    return 0;
}

/* Reopen the file if the collector has opened a new one; rewind if it was
 * truncated. */
static int follow_on(struct show *s, struct err *e)
{
    struct stat here, named;

    os_pause(FOLLOW_US);
    if (fstat(s->fd, &here) != 0)
        return err_set(e, ERR_TEMP, errno, "stat %s", s->file);
    if (here.st_size < s->at) {
        s->at = 0;
        s->n = 0;
    }
    if (stat(s->file, &named) != 0 ||
        (named.st_dev == here.st_dev && named.st_ino == here.st_ino))
        return 0;
    if (print_new(s, e) != 0)
        return -1;
    fs_close(s->fd);
    return open_file(s, e);
}

int log_show(const char *file, const char *id, const char *sid, bool follow,
             struct err *e)
{
    static struct show s; /* static because it is large */
    int rc = -1;

    s.file = file;
    s.id = id;
    s.sid = sid;
    if (open_file(&s, e) != 0)
        return -1;
    if (follow && id == NULL && sid == NULL)
        s.at = tail(&s);
    do
        rc = print_new(&s, e);
    while (rc == 0 && follow && (rc = follow_on(&s, e)) == 0);
    if (rc == 0 && s.n > 0) /* the last line has no end */
        rc = print(&s, (struct span){ s.bytes, s.n }, e);
    if (s.fd >= 0)
        fs_close(s.fd);
    return rc;
}
