#include "base/handdown.h"

#include "base/fs.h"
#include "base/line.h"
#include "base/os.h"
#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The identity of one state of a file. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t modified, changed; /* ns */
};

struct file {
    char path[PATH_MAX];
    int fd;           /* of the copy; -1: there is none */
    int why;          /* the errno of that */
    unsigned readers; /* 0: all */
    struct stamp copied, seen, kept;
};

struct handdown {
    size_t n;
    struct file file[HANDDOWN_MAX];
};

static struct handdown *in_use;

static const char prefix[] = "file ";

int handdown_new(struct handdown **set, struct err *e)
{
    *set = calloc(1, sizeof **set);
    return *set != NULL ? 0 : err_set(e, ERR_TEMP, ENOMEM, "memory for files");
}

void handdown_free(struct handdown **set)
{
    if (*set == NULL)
        return;
    for (size_t i = 0; i < (*set)->n; i++)
        if ((*set)->file[i].fd >= 0)
            close((*set)->file[i].fd);
    free(*set);
    *set = NULL;
}

struct handdown *handdown_use(struct handdown *set)
{
    struct handdown *before = in_use;

    in_use = set;
    return before;
}

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){
        st->st_dev, st->st_ino, st->st_size,
        st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec,
        st->st_ctim.tv_sec * INT64_C(1000000000) + st->st_ctim.tv_nsec
    };
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->modified == b->modified && a->changed == b->changed;
}

/* --- reading --------------------------------------------------------- */

/* The number of octets, or -1: a file may have another size than it said. */
static ssize_t read_all(int fd, char *to, size_t size)
{
    size_t at = 0;

    while (at < size) {
        ssize_t n = fs_pread(fd, to + at, size - at, (off_t)at);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

/* The compiler must not leave it out. */
void handdown_wipe(char **text, size_t n)
{
    volatile char *p = *text;

    for (size_t i = 0; p != NULL && i < n; i++)
        p[i] = 0;
    free(*text);
    *text = NULL;
}

static int open_error(const char *path, int why, struct err *e)
{
    bool passes = os_is_short(why) || why == EIO;

    return err_set(e, passes ? ERR_TEMP : ERR_USAGE, why, "open %s", path);
}

static int read_open(char **text, size_t *n, int fd, const char *path,
                     struct stat *st, struct err *e)
{
    *text = NULL;
    if (fstat(fd, st) != 0)
        return open_error(path, errno, e);
    if (!S_ISREG(st->st_mode) || st->st_size > HANDDOWN_BYTES_MAX)
        return err_set(e, ERR_USAGE, 0, "%s is not a file or too big", path);
    size_t size = (size_t)st->st_size;
    *text = malloc(size + 1);
    ssize_t got = *text != NULL ? read_all(fd, *text, size) : -1;
    if (got < 0) {
        err_set(e, ERR_TEMP, errno, "read %s", path);
        handdown_wipe(text, size);
        return -1;
    }
    *n = (size_t)got;
    (*text)[*n] = '\0';
    return 0;
}

static int read_by_name(char **text, size_t *n, const char *path,
                        struct stat *st, struct err *e)
{
    /* Not blocking: it may be a FIFO. */
    int fd = fs_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

    *text = NULL;
    if (fd < 0)
        return open_error(path, errno, e);
    int rc = read_open(text, n, fd, path, st, e);
    fs_close(fd);
    return rc;
}

static int read_guarded(char **text, size_t *n, const char *path,
                        struct stat *st, struct err *e)
{
    int fd = fs_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW, 0);

    *text = NULL;
    if (fd < 0)
        return open_error(path, errno == ELOOP ? EPERM : errno, e);
    int rc = fstat(fd, st) == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) != 0
                 ? open_error(path, EPERM, e)
                 : read_open(text, n, fd, path, st, e);
    fs_close(fd);
    return rc;
}

static struct file *find(struct handdown *set, const char *path)
{
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->file[i].path, path) == 0)
            return &set->file[i];
    return NULL;
}

static int read_copy(char **text, size_t *n, const char *path, struct err *e)
{
    const struct file *f = find(in_use, path);
    struct stat st;

    *text = NULL;
    if (f == NULL)
        return err_set(e, ERR_BUG, 0, "%s was not handed down", path);
    return f->fd < 0 ? open_error(path, f->why, e)
                     : read_open(text, n, f->fd, path, &st, e);
}

int handdown_read(char **text, size_t *n, const char *path, struct err *e)
{
    struct stat st;

    return in_use != NULL ? read_copy(text, n, path, e)
                          : read_by_name(text, n, path, &st, e);
}

int handdown_read_guarded(char **text, size_t *n, const char *path,
                          struct err *e)
{
    struct stat st;

    return in_use != NULL ? read_copy(text, n, path, e)
                          : read_guarded(text, n, path, &st, e);
}

/* --- copies ---------------------------------------------------------- */

static int make_copy(const char *text, size_t n, const char *path,
                     struct err *e)
{
    int fd = memfd_create("mta", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && fs_write_all(fd, text, n) == 0 &&
        fcntl(fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
        return fd;
    err_set(e, ERR_TEMP, errno, "copy %s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

typedef int reader_fn(char **text, size_t *n, const char *path, struct stat *st,
                      struct err *e);

/* What two kinds of processes read is for both. */
static void add_readers(struct file *f, unsigned readers)
{
    f->readers = f->readers == 0 || readers == 0 ? 0 : f->readers | readers;
}

static int take(struct handdown *set, const char *path, reader_fn *reader,
                unsigned readers, struct err *e)
{
    struct stat st = { 0 };
    struct file f = { .fd = -1, .readers = readers }, *have = find(set, path);
    char *text;
    size_t n;

    if (have != NULL) {
        add_readers(have, readers);
        return 0;
    }
    if (set->n == HANDDOWN_MAX ||
        !span_copy(f.path, sizeof f.path, span_of(path)))
        return err_set(e, ERR_USAGE, 0,
                       "no place for a copy of %s: more than %d files", path,
                       HANDDOWN_MAX);
    if (reader(&text, &n, path, &st, e) == 0) {
        f.copied = stamp_of(&st);
        f.fd = make_copy(text, n, path, e);
        handdown_wipe(&text, n);
        if (f.fd < 0)
            return -1;
    } else if (e->sys == ENOENT || e->sys == ENOTDIR ||
               (reader == read_guarded && e->kind == ERR_USAGE)) {
        f.why = e->sys != 0 ? e->sys : EPERM;
        f.copied = stat(path, &st) == 0 ? stamp_of(&st) : f.copied;
    } else {
        return -1;
    }
    f.seen = f.kept = f.copied;
    set->file[set->n++] = f;
    return 0;
}

int handdown_take(struct handdown *set, const char *path, struct err *e)
{
    return take(set, path, read_by_name, 0, e);
}

int handdown_take_for(struct handdown *set, const char *path, unsigned readers,
                      struct err *e)
{
    return take(set, path, read_by_name, readers, e);
}

int handdown_take_guarded(struct handdown *set, const char *path, struct err *e)
{
    return take(set, path, read_guarded, 0, e);
}

static bool is_for(const struct file *f, unsigned reader)
{
    return f->readers == 0 || (f->readers & reader) != 0;
}

void handdown_drop_others(struct handdown *set, unsigned reader)
{
    for (size_t i = 0; i < set->n; i++) {
        struct file *f = &set->file[i];
        if (is_for(f, reader))
            continue;
        if (f->fd >= 0)
            close(f->fd);
        f->fd = -1;
        f->why = EACCES;
    }
}

bool handdown_is_stale(struct handdown *set)
{
    bool stale = false;

    for (size_t i = 0; i < set->n; i++) {
        struct file *f = &set->file[i];
        struct stamp now = { 0 };
        struct stat st;
        if (stat(f->path, &st) == 0)
            now = stamp_of(&st);
        stale |= !same(&now, &f->copied) && !same(&now, &f->kept) &&
                 same(&now, &f->seen);
        f->seen = now;
    }
    return stale;
}

void handdown_keep(struct handdown *set)
{
    for (size_t i = 0; i < set->n; i++)
        set->file[i].kept = set->file[i].seen;
}

bool handdown_same(const struct handdown *a, const struct handdown *b)
{
    bool all = a->n == b->n;

    for (size_t i = 0; all && i < a->n; i++)
        all = strcmp(a->file[i].path, b->file[i].path) == 0 &&
              same(&a->file[i].copied, &b->file[i].copied);
    return all;
}

/* --- to running processes -------------------------------------------- */

int handdown_send(const struct handdown *set, unsigned reader, int line,
                  struct err *e)
{
    char text[LINE_MAX_TEXT];

    for (const struct file *f = set->file + set->n; f-- > set->file;) {
        if (!is_for(f, reader))
            continue;
        int n = snprintf(text, sizeof text, "%s%s", prefix, f->path);
        if (n < 0 || (size_t)n >= sizeof text)
            return err_set(e, ERR_BUG, 0, "name too long: %s", f->path);
        if (line_send(line, text, f->fd, e) != 0)
            return -1;
    }
    return line_send(line, HANDDOWN_END, -1, e);
}

bool handdown_accept(const char *message, int fd)
{
    const char *path = message + sizeof prefix - 1;

    if (strncmp(message, prefix, sizeof prefix - 1) != 0)
        return false;
    struct file *f = in_use != NULL ? find(in_use, path) : NULL;
    int old = fd;
    if (f == NULL && in_use != NULL && in_use->n < HANDDOWN_MAX) {
        f = &in_use->file[in_use->n++];
        *f = (struct file){ .fd = -1 };
        snprintf(f->path, sizeof f->path, "%s", path);
    }
    if (f != NULL) {
        old = f->fd;
        f->fd = fd;
        f->why = ENOENT; /* if it came without a copy */
    }
    if (old >= 0)
        close(old);
    return true;
}

int handdown_receive(int line, bool *renewed)
{
    char message[LINE_MAX_TEXT];
    int fd, rc;

    *renewed = false;
    while ((rc = line_receive(line, message, &fd)) > 0) {
        bool is_file = handdown_accept(message, fd);
        if (!is_file && fd >= 0)
            close(fd);
        *renewed |= is_file;
    }
    return rc;
}
