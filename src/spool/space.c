#include "spool/space.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/fs_type.h"
#include "base/rundir.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <sys/statvfs.h>

enum {
    ROOM_EVERY_MS = 1000,
    ROOM_INODES = 100,
    SEGMENT_MIN = 1024 * 1024,
    SEGMENT_PART = 16,
    ORDINARY_MESSAGE = 64 * 1024 /* a disk without room for it accepts none */
};

uint64_t spool_space_segment(uint64_t free_bytes, uint64_t max)
{
    uint64_t size = free_bytes / SEGMENT_PART / SEGMENT_MIN * SEGMENT_MIN;

    if (size < SEGMENT_MIN)
        size = SEGMENT_MIN;
    return size < max ? size : max;
}

static uint64_t bytes_free(const struct statvfs *fs)
{
    return (uint64_t)fs->f_bavail * fs->f_frsize;
}

/* --- for a writer --------------------------------------------------------- */

static int ask(struct spool_writer *w, struct err *e)
{
    uint64_t now = clock_mono_ms();
    struct statvfs fs;

    if (w->room_ms != 0 && now - w->room_ms < ROOM_EVERY_MS)
        return 0;
    if (statvfs(w->dir, &fs) != 0)
        return err_set(e, ERR_TEMP, errno, "ask for the room in %s", w->dir);
    w->room_bytes = bytes_free(&fs);
    /* file systems without a fixed number report 0 of 0 */
    w->room_inodes = fs.f_files == 0 ? UINT64_MAX : (uint64_t)fs.f_favail;
    w->room_ms = now;
    return 0;
}

uint64_t spool_space_free(struct spool_writer *w)
{
    w->room_ms = 0; /* the segment before was cut just now */
    return ask(w, NULL) != 0 ? UINT64_MAX : w->room_bytes;
}

/* Twice the size, because reclaim may copy the message once, and one segment in
 * reserve for other uses of the disk. */
static uint64_t needed(uint64_t free_bytes, uint64_t size, uint64_t segment_max)
{
    uint64_t spare = spool_space_segment(free_bytes, segment_max);

    return size > (UINT64_MAX - spare) / 2 ? UINT64_MAX : 2 * size + spare;
}

static int too_little(const char *dir, uint64_t is, uint64_t need,
                      struct err *e)
{
    return err_set(e, ERR_TEMP, ENOSPC, "%s: %llu KiB free, %llu KiB needed",
                   dir, (unsigned long long)(is / 1024),
                   (unsigned long long)(need / 1024));
}

int spool_space_has(struct spool_writer *w, uint64_t size, struct err *e)
{
    if (ask(w, e) != 0)
        return -1;
    uint64_t need = needed(w->room_bytes, size, w->segment_size);
    if (w->room_bytes < need)
        return too_little(w->dir, w->room_bytes, need, e);
    if (w->room_inodes < ROOM_INODES)
        return err_set(e, ERR_TEMP, ENOSPC, "%s: %llu inodes free, %d needed",
                       w->dir, (unsigned long long)w->room_inodes,
                       (int)ROOM_INODES);
    return 0;
}

/* --- for an operator ------------------------------------------------------ */

static int warn_type(const char *path, int fd, struct err *e)
{
    const struct fs_type *t = fs_type_of(fd);

    if (t == NULL)
        return 0;
    if (t->trust == FS_MEMORY)
        return err_set(e, ERR_TEMP, 0,
                       "%s is on %s: its mail is lost when the machine stops",
                       path, t->name);
    if (t->trust == FS_LAYERED)
        return err_set(e, ERR_TEMP, 0,
                       "%s is on %s: its mail is lost with the container", path,
                       t->name);
    if (t->trust == FS_UNKNOWN)
        return err_set(e, ERR_TEMP, 0,
                       "%s is on a file system that is not known to keep "
                       "locks and syncs",
                       path);
    return 0;
}

int spool_space_warn(const char *queue_dir, struct err *e)
{
    int fd = rundir_nearest(queue_dir, NULL), rc = 0;
    struct statvfs fs;

    if (fd < 0)
        return 0;
    if (fstatvfs(fd, &fs) == 0) {
        uint64_t is = bytes_free(&fs);
        uint64_t need = needed(is, ORDINARY_MESSAGE, SPOOL_SEGMENT_SIZE);
        if (is < need)
            rc = too_little(queue_dir, is, need, e);
    }
    if (rc == 0)
        rc = warn_type(queue_dir, fd, e);
    fs_close(fd);
    return rc;
}
