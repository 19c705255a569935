#include "spool/dirs.h"

#include "base/fs.h"
#include "base/rundir.h"

#include <errno.h>

static const char *const names[] = { "segments", "run" };

static int make_below(const struct rundir *top, struct err *e)
{
    struct rundir d;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (rundir_below(&d, top, names[i], e) != 0)
            return -1;
        rundir_close(&d);
    }
    return 0;
}

/* The queue's own directory and all above are synced: without their entries
 * no sync of a segment would be worth anything. */
static int sync_top(const struct rundir *top, struct err *e)
{
    if (fs_sync_above(top->path) != 0)
        return err_set(e, ERR_TEMP, errno, "sync above %s", top->path);
    if (fs_fsync(top->fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", top->path);
    return 0;
}

int spool_dirs_make(const char *queue_dir, uid_t uid, gid_t gid, struct err *e)
{
    struct rundir top;

    if (rundir_make(&top, queue_dir, uid, gid, e) != 0)
        return -1;
    int rc = make_below(&top, e) != 0 || sync_top(&top, e) != 0 ? -1 : 0;
    rundir_close(&top);
    return rc;
}
