/* space.c - the room on the disk of the queue. */
#include "base/clock.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <sys/statvfs.h>

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
