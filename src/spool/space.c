/* space.c - directories of the queue, and the room on their disk. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int own(const char *path, uid_t uid, gid_t gid, struct err *e)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "stat %s", path);
    bool foreign = (uid != (uid_t)-1 && uid != st.st_uid) ||
                   (gid != (gid_t)-1 && gid != st.st_gid);
    if (foreign && chown(path, uid, gid) != 0)
        return err_set(e, ERR_PERM, errno, "give %s to its user", path);
    return 0;
}

static int make_dir(const char *path, uid_t uid, gid_t gid, struct err *e)
{
    if (fs_mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMP, errno, "make directory %s", path);
    return own(path, uid, gid, e);
}

static int make_wake(const char *path, uid_t uid, gid_t gid, struct err *e)
{
    if (mkfifo(path, 0600) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMP, errno, "make %s", path);
    return own(path, uid, gid, e);
}

/* The queue's own directory and all above are synced: without their entries
 * no sync of a segment would be worth anything. */
static int sync_above(const char *queue_dir, struct err *e)
{
    if (fs_sync_above(queue_dir) != 0)
        return err_set(e, ERR_TEMP, errno, "sync above %s", queue_dir);
    return spool_dir_sync(queue_dir, e);
}

int spool_make_dirs(const char *queue_dir, uid_t uid, gid_t gid, struct err *e)
{
    char segments[SPOOL_DIR], run[SPOOL_DIR], wake[SPOOL_PATH];

    if (spool_segments_dir(segments, queue_dir, e) != 0)
        return -1;
    if (!os_path(run, sizeof run, queue_dir, "run") ||
        !os_path(wake, sizeof wake, run, "wake"))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory");
    if (os_mkdirs(queue_dir, 0700, e) != 0 ||
        own(queue_dir, uid, gid, e) != 0 ||
        make_dir(segments, uid, gid, e) != 0 ||
        make_dir(run, uid, gid, e) != 0 || make_wake(wake, uid, gid, e) != 0)
        return -1;
    return sync_above(queue_dir, e);
}

/* --- room ----------------------------------------------------------------- */

enum { ROOM_EVERY_MS = 1000, ROOM_INODES = 100 };

static int ask_room(struct spool_writer *w, struct err *e)
{
    uint64_t now = clock_mono_ms();
    struct statvfs fs;

    if (w->room_ms != 0 && now - w->room_ms < ROOM_EVERY_MS)
        return 0;
    if (statvfs(w->dir, &fs) != 0)
        return err_set(e, ERR_TEMP, errno, "ask for the room in %s", w->dir);
    w->room_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    /* some file systems have no fixed number and say 0 of 0 */
    w->room_inodes = fs.f_files == 0 ? UINT64_MAX : (uint64_t)fs.f_favail;
    w->room_ms = now;
    return 0;
}

/* Twice the size, for it may be copied once (reclaim), and a segment to
 * spare for every other use of the disk. */
int spool_writer_has_room(struct spool_writer *w, uint64_t size, struct err *e)
{
    if (ask_room(w, e) != 0)
        return -1;
    if (size > (UINT64_MAX - w->segment_size) / 2 ||
        w->room_bytes < 2 * size + w->segment_size)
        return err_set(e, ERR_TEMP, ENOSPC, "room for %llu bytes in the queue",
                       (unsigned long long)size);
    if (w->room_inodes < ROOM_INODES)
        return err_set(e, ERR_TEMP, ENOSPC, "room for files in the queue");
    return 0;
}
