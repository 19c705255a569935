/* show.c - read the files of the log. */
#include "log/show.h"
#include "base/fs.h"
#include "base/os.h"
#include "log/rotated.h"

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
    const struct log_show *what;
    const char *file;
    bool all; /* no filter */
    int fd;
    off_t at;
    size_t n; /* the start of a line, read and not yet printed */
    char bytes[PART];
};

static int put(void *ctx, struct span line, struct err *e)
{
    (void)ctx;
    if (fwrite(line.p, 1, line.n, stdout) != line.n)
        return err_set(e, ERR_TEMP, errno, "standard output");
    return 0;
}

static int print(const struct show *s, struct span line, struct err *e)
{
    const struct log_show *w = s->what;

    if (!s->all && !log_filter_takes(&w->filter, line))
        return 0;
    return w->line != NULL ? w->line(w->ctx, line, e) : put(NULL, line, e);
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

/* A pipe has no places. */
static ssize_t read_more(struct show *s)
{
    ssize_t n = fs_pread(s->fd, s->bytes + s->n, PART - s->n, s->at);

    return n < 0 && errno == ESPIPE ? read(s->fd, s->bytes + s->n, PART - s->n)
                                    : n;
}

/* Print all whole lines; keep a line without its end for the next call. */
static int print_new(struct show *s, struct err *e)
{
    for (;;) {
        ssize_t n = read_more(s);
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

/* The last line may have no end. */
static int print_rest(const struct show *s, struct err *e)
{
    return s->n > 0 ? print(s, (struct span){ s->bytes, s->n }, e) : 0;
}

static int show_rotated(struct show *s, struct err *e)
{
    static struct rotated files; /* static because it is large */
    const struct log_show *w = s->what;
    int rc = 0;

    rotated_find(&files, w->file);
    for (size_t i = 0; i < files.n && rc == 0; i++) {
        const struct rotated_file *f = &files.file[i];
        if (w->filter.since > f->changed)
            continue;
        if (f->packed) {
            if (w->left_out != NULL)
                w->left_out(w->ctx, f->path);
            continue;
        }
        s->file = f->path;
        if (open_file(s, e) != 0)
            return -1;
        rc = print_new(s, e) != 0 ? -1 : print_rest(s, e);
        fs_close(s->fd);
    }
    return rc;
}

int log_show(const struct log_show *what, struct err *e)
{
    static struct show s; /* static because it is large */
    int rc = -1;

    s.what = what;
    s.all = !log_filter_is_set(&what->filter);
    if (what->rotated && show_rotated(&s, e) != 0)
        return -1;
    s.file = what->file;
    if (open_file(&s, e) != 0)
        return -1;
    if (what->follow && s.all)
        s.at = tail(&s);
    do
        rc = print_new(&s, e);
    while (rc == 0 && what->follow && (rc = follow_on(&s, e)) == 0);
    if (rc == 0)
        rc = print_rest(&s, e);
    if (s.fd >= 0)
        fs_close(s.fd);
    return rc;
}
