#include "spool/segment.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLAIMS = 100 };

void segment_path(char out[PATH_MAX], const char *queue_dir, uint64_t id,
                  const char *suffix)
{
    char name[MSG_ID_BASE_TEXT];

    msg_id_base_text(name, id);
    snprintf(out, PATH_MAX, "%.*s/segments/%s.%s", (int)SPOOL_DIR_MAX,
             queue_dir, name, suffix);
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* Both names must be free: O_EXCL settles who makes the .new, and a .seg can
 * only come from a .new that is gone by then. */
static int claim(struct segment_file *f, const char *queue_dir)
{
    char path[PATH_MAX], seg[PATH_MAX];

    for (int i = 0; i < CLAIMS; i++) {
        f->id = msg_id_new_base();
        segment_path(path, queue_dir, f->id, "new");
        segment_path(seg, queue_dir, f->id, "seg");
        f->fd = fs_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (f->fd < 0 && errno == EEXIST)
            continue;
        if (f->fd < 0)
            return -1;
        if (!exists(seg))
            return 0;
        segment_discard(f, queue_dir, "new");
    }
    errno = EEXIST;
    return -1;
}

int segment_create(struct segment_file *f, const char *queue_dir, off_t size,
                   struct err *e)
{
    f->fd = -1;
    f->created = clock_wall_us();
    if (strlen(queue_dir) >= SPOOL_DIR_MAX)
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory %s",
                       queue_dir);
    if (claim(f, queue_dir) != 0)
        return err_set(e, ERR_TEMP, errno, "make a segment in %s", queue_dir);
    if (fs_lock(f->fd, LOCK_EX | LOCK_NB) != 0)
        err_set(e, ERR_TEMP, errno, "lock a new segment");
    else if (size > 0 && fs_allocate(f->fd, size) != 0)
        err_set(e, ERR_TEMP, errno, "allocate %lld octets for a segment",
                (long long)size);
    else if (segment_write_header(f, SPOOL_SEGMENT_HEADER, false) != 0)
        err_set(e, ERR_TEMP, errno, "write the header of a segment");
    else
        return 0;
    segment_discard(f, queue_dir, "new");
    return -1;
}

int segment_publish(const struct segment_file *f, const char *queue_dir,
                    struct err *e)
{
    char from[PATH_MAX], to[PATH_MAX];

    segment_path(from, queue_dir, f->id, "new");
    segment_path(to, queue_dir, f->id, "seg");
    if (fs_rename(from, to) != 0)
        return err_set(e, ERR_TEMP, errno, "rename to %s", to);
    return 0;
}

int segment_write_header(const struct segment_file *f, uint64_t committed,
                         bool closed)
{
    struct spool_segment_header h = { .id = f->id,
                                      .created = f->created,
                                      .committed = committed,
                                      .closed = closed };
    unsigned char raw[SPOOL_SEGMENT_HEADER];

    spool_segment_header_encode(raw, &h);
    return fs_pwrite_all(f->fd, raw, sizeof raw, 0);
}

int segment_write_state(const struct segment_file *f, uint64_t committed,
                        bool closed)
{
    struct spool_segment_header h = { .id = f->id,
                                      .committed = committed,
                                      .closed = closed };
    unsigned char raw[SPOOL_SEGMENT_STATE];

    spool_segment_state_encode(raw, &h);
    return fs_pwrite_all(f->fd, raw, sizeof raw, SPOOL_SEGMENT_STATE_AT);
}

int segment_sync_dir(const char *queue_dir, struct err *e)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/segments", queue_dir);
    if (fs_sync_dir(path) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", path);
    return 0;
}

void segment_discard(struct segment_file *f, const char *queue_dir,
                     const char *suffix)
{
    char path[PATH_MAX];

    if (f->fd < 0)
        return;
    segment_path(path, queue_dir, f->id, suffix);
    fs_unlink(path);
    fs_close(f->fd);
    f->fd = -1;
}

/* --- waking ---------------------------------------------------------- */

static bool wake_path(char out[PATH_MAX], const char *queue_dir)
{
    return os_path(out, PATH_MAX, queue_dir, "run/wake");
}

void wake_sender(struct wake *w, const char *queue_dir, char what)
{
    char path[PATH_MAX];
    int why = errno;

    if (w->fd < 0 && clock_mono_ms() >= w->next_try &&
        wake_path(path, queue_dir)) {
        /* ENXIO: no sender runs; look again in a second. */
        w->fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        w->next_try = clock_mono_ms() + 1000;
    }
    /* EAGAIN: the pipe is full of wake-ups that nobody has read yet; one
     * more says nothing new.  SIGPIPE is ignored by all who write here. */
    if (w->fd >= 0 && write(w->fd, &what, 1) < 0 && errno == EPIPE)
        wake_close(w);
    errno = why;
}

void wake_close(struct wake *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

/* Opened for both directions, so that it never reads as ended. */
int wake_listen(const char *queue_dir, struct err *e)
{
    char path[PATH_MAX];

    if (!wake_path(path, queue_dir))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", queue_dir);
    if (mkfifo(path, 0600) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMP, errno, "make %s", path);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    return fd;
}
