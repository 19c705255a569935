#include "spool/segment_private.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- names ---------------------------------------------------------------- */

static const char *const endings[SPOOL_KINDS] = { ".new", ".seg", ".bad" };

int spool_dir(char out[SPOOL_DIR], const char *queue_dir, enum spool_name name,
              struct err *e)
{
    struct stat st;

    if (!os_path(out, SPOOL_DIR, queue_dir, spool_name_text(name)))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory");
    if (lstat(out, &st) == 0 && S_ISLNK(st.st_mode))
        return err_set(e, ERR_PERM, ELOOP, "open %s", out);
    return 0;
}

void spool_path(char out[SPOOL_PATH], const char *dir, uint64_t id,
                enum spool_kind kind)
{
    char text[MSG_ID_BASE_TEXT];

    msg_id_base_text(text, id);
    snprintf(out, SPOOL_PATH, "%s/%s%s", dir, text, endings[kind]);
}

static bool parse_name(const char *name, uint64_t *id, enum spool_kind *kind)
{
    size_t n = MSG_ID_BASE_TEXT - 1;

    if (strlen(name) != n + 4 ||
        !msg_id_base_parse(id, (struct span){ name, n }))
        return false;
    for (int k = 0; k < SPOOL_KINDS; k++)
        if (strcmp(name + n, endings[k]) == 0) {
            *kind = (enum spool_kind)k;
            return true;
        }
    return false;
}

/* A FIFO, a link or a directory with the name of a segment is none: no writer
 * of this program makes one, and it would only keep consumers from starting. */
static bool is_file(int dir, const struct dirent *f)
{
    struct stat st;

    if (f->d_type != DT_UNKNOWN)
        return f->d_type == DT_REG;
    return fstatat(dir, f->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode);
}

int spool_each(const char *dir, spool_each_fn *fn, void *ctx, struct err *e)
{
    int fd = fs_open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    enum spool_kind kind;
    uint64_t id;
    int rc = 0;

    if (d == NULL) {
        rc = err_set(e, ERR_TEMP, errno, "open %s", dir);
        if (fd >= 0)
            fs_close(fd);
        return rc;
    }
    while (rc == 0 && (errno = 0, entry = readdir(d)) != NULL)
        if (parse_name(entry->d_name, &id, &kind) && is_file(fd, entry))
            rc = fn(ctx, id, kind, e);
    if (rc == 0 && errno != 0 && entry == NULL)
        rc = err_set(e, ERR_TEMP, errno, "read %s", dir);
    closedir(d);
    return rc;
}

int spool_dir_sync(const char *dir, struct err *e)
{
    if (fs_sync_dir(dir) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", dir);
    return 0;
}

/* Keep low descriptors for sockets, which wait in select(). */
int spool_fd_high(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE);

    if (high < 0)
        return fd; /* the limit of descriptors is too low */
    fs_close(fd);
    return high;
}

/* --- birth ---------------------------------------------------------------- */

/* Is it still there?  Until it was locked a consumer could take it for one that
 * a crash had left, if the clock has jumped. */
static bool is_linked(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

/* Open .new of that id for us alone; 1: the name is taken.  While we own
 * X.new no other process can make X.seg, which is always renamed from X.new;
 * so a look for X.seg after that is final. */
static int take_name(struct spool_file *f, struct err *e)
{
    char path[SPOOL_PATH], seg[SPOOL_PATH];

    spool_path(path, f->dir, f->h.id, SPOOL_NEW);
    spool_path(seg, f->dir, f->h.id, SPOOL_SEG);
    f->fd = fs_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (f->fd < 0 && errno == EEXIST)
        return 1;
    if (f->fd < 0)
        return err_set(e, ERR_TEMP, errno, "create %s", path);
    f->fd = spool_fd_high(f->fd);
    if (fs_lock(f->fd, LOCK_EX | LOCK_NB) == 0 && is_linked(f->fd) &&
        access(seg, F_OK) != 0)
        return 0;
    spool_file_remove(f, SPOOL_NEW);
    return 1;
}

static int fill_new(struct spool_file *f, uint64_t size, struct err *e)
{
    unsigned char header[SPOOL_SEGMENT_HEADER];

    if (size > 0 && fs_allocate(f->fd, (off_t)size) != 0)
        return err_set(e, ERR_TEMP, errno, "reserve %llu bytes in %s",
                       (unsigned long long)size, f->dir);
    spool_segment_header_encode(header, &f->h);
    if (fs_pwrite_all(f->fd, header, sizeof header, 0) != 0)
        return err_set(e, ERR_TEMP, errno, "write a segment in %s", f->dir);
    f->size = size;
    return 0;
}

int spool_file_claim(struct spool_file *f, const struct spool_birth *b,
                     struct err *e)
{
    int rc = 1;

    for (int i = 0; i < 16 && rc == 1; i++) {
        *f = (struct spool_file){ .dir = b->dir, .fd = -1 };
        f->h.id = (msg_id_new_base() & ~UINT64_C(1)) | (uint64_t)b->name;
        f->h.children = b->children;
        f->h.created = clock_wall_us();
        f->h.committed = SPOOL_SEGMENT_HEADER;
        rc = take_name(f, e);
    }
    if (rc == 1)
        return err_set(e, ERR_TEMP, EEXIST, "find a free name in %s", b->dir);
    if (rc == 0 && fill_new(f, b->size, e) != 0) {
        spool_file_remove(f, SPOOL_NEW);
        return -1;
    }
    return rc;
}

int spool_file_rename(struct spool_file *f, struct err *e)
{
    char from[SPOOL_PATH], to[SPOOL_PATH];

    spool_path(from, f->dir, f->h.id, SPOOL_NEW);
    spool_path(to, f->dir, f->h.id, SPOOL_SEG);
    if (fs_rename(from, to) != 0)
        return err_set(e, ERR_TEMP, errno, "rename to %s", to);
    return 0;
}

/* --- life and end --------------------------------------------------------- */

int spool_file_publish(struct spool_file *f)
{
    unsigned char state[SPOOL_STATE];

    spool_state_encode(state, &f->h);
    return fs_pwrite_all(f->fd, state, sizeof state, SPOOL_STATE_AT);
}

int spool_confirmed_write(int fd, uint64_t id, uint64_t confirmed)
{
    unsigned char word[SPOOL_CONFIRMED];

    spool_confirmed_encode(word, id, confirmed);
    return fs_pwrite_all(fd, word, sizeof word, SPOOL_CONFIRMED_AT);
}

/* In a file that ends before the word nothing is confirmed. */
int spool_confirmed_read(int fd, uint64_t id, uint64_t *confirmed)
{
    unsigned char word[SPOOL_CONFIRMED] = { 0 };
    size_t at = 0;
    ssize_t n;

    while (at < sizeof word &&
           (n = fs_pread(fd, word + at, sizeof word - at,
                         SPOOL_CONFIRMED_AT + (off_t)at)) != 0) {
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    *confirmed = at == sizeof word ? spool_confirmed_decode(word, id) : 0;
    return 0;
}

/* Unlock explicitly, because a copy of the descriptor (a body that is still
 * read) would keep the lock. */
void spool_file_drop(struct spool_file *f)
{
    if (f->fd < 0)
        return;
    fs_lock(f->fd, LOCK_UN);
    fs_close(f->fd);
    f->fd = -1;
}

/* Best effort: without the mark, or with a tail beyond what is committed,
 * recovery comes to the same result. */
void spool_file_close(struct spool_file *f)
{
    if (f->fd < 0)
        return;
    fs_truncate(f->fd, (off_t)f->h.committed);
    f->h.closed = true;
    spool_file_publish(f);
    spool_file_drop(f);
}

int spool_file_remove(struct spool_file *f, enum spool_kind kind)
{
    char path[SPOOL_PATH];

    if (f->fd < 0)
        return 0;
    spool_path(path, f->dir, f->h.id, kind);
    int rc = fs_unlink(path);
    spool_file_drop(f);
    return rc;
}

/* --- reading -------------------------------------------------------------- */

/* Read up to n bytes and zero the rest; a file that is too short is broken,
 * which is no error here. */
static int read_head(int fd, unsigned char *in, size_t n)
{
    ssize_t got;

    memset(in, 0, n);
    for (size_t at = 0; at < n; at += (size_t)got) {
        got = fs_pread(fd, in + at, n - at, (off_t)at);
        if (got <= 0)
            return (int)got;
    }
    return 0;
}

int spool_header_read(int fd, struct spool_segment_header *h,
                      enum spool_check *check)
{
    unsigned char in[SPOOL_STATE_AT + SPOOL_STATE];

    for (int i = 0; i < 8; i++) {
        if (read_head(fd, in, sizeof in) != 0)
            return -1;
        *check = spool_segment_header_decode(h, in);
        if (*check != SPOOL_STATELESS)
            return 0;
    }
    return 0;
}

int spool_err_other(const struct spool_segment_header *h, uint64_t id,
                    struct err *e)
{
    char text[MSG_ID_BASE_TEXT];

    msg_id_base_text(text, id);
    return err_set(e, ERR_PERM, 0,
                   "segment %s.seg has format %lu and this program knows %d; "
                   "it is left alone: deliver it with the version that wrote "
                   "it, or move it away",
                   text, (unsigned long)h->version, (int)SPOOL_VERSION);
}
