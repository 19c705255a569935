#include "spool/dirs.h"

#include "base/fs.h"
#include "base/fs_type.h"
#include "base/os.h"
#include "base/rundir.h"

#include <errno.h>
#include <sys/stat.h>

static const char *const names[] = { "local", "remote", "run" };

/* Refuse file systems without reliable locks and syncs: two senders could run
 * at once, and synced data could be lost. */
static int check_type(int fd, const char *path, struct err *e)
{
    const struct fs_type *t = fs_type_of(fd);

    if (t == NULL)
        return err_set(e, ERR_TEMP, errno, "ask for the file system of %s",
                       path);
    if (t->trust == FS_REFUSED)
        return err_set(e, ERR_PERM, 0,
                       "%s is on %s, which does not keep locks and syncs: use "
                       "a local disk",
                       path, t->name);
    return 0;
}

int spool_dirs_refuse_old(const char *queue_dir, struct err *e)
{
    char path[1200];
    struct stat st;

    if (!os_path(path, sizeof path, queue_dir, "segments") ||
        lstat(path, &st) != 0)
        return 0;
    return err_set(e, ERR_PERM, 0,
                   "%s is the queue of an older version: deliver it with that "
                   "version, then remove it, or move it away",
                   path);
}

/* Check the nearest existing directory before anything is made below it. */
static int check_nearest(const char *queue_dir, struct err *e)
{
    int fd = spool_dirs_refuse_old(queue_dir, e) == 0
                 ? rundir_nearest(queue_dir, e)
                 : -1;

    if (fd < 0)
        return -1;
    int rc = check_type(fd, queue_dir, e);
    fs_close(fd);
    return rc;
}

static int make_below(const struct rundir *top, struct err *e)
{
    struct rundir d;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (rundir_below(&d, top, names[i], e) != 0)
            return -1;
        int rc = d.fd < 0 ? 0 : check_type(d.fd, d.path, e);
        rundir_close(&d);
        if (rc != 0)
            return -1;
    }
    return 0;
}

/* Sync the queue's directory and all above it: without their entries a synced
 * segment could be lost. */
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

    if (check_nearest(queue_dir, e) != 0 ||
        rundir_make(&top, queue_dir, uid, gid, e) != 0)
        return -1;
    int rc = make_below(&top, e) != 0 || sync_top(&top, e) != 0 ? -1 : 0;
    rundir_close(&top);
    return rc;
}

int spool_dirs_check(const char *queue_dir, uid_t uid, gid_t gid, struct err *e)
{
    struct rundir top;

    if (check_nearest(queue_dir, e) != 0 ||
        rundir_look(&top, queue_dir, uid, gid, e) != 0)
        return -1;
    int rc = top.fd < 0 ? 0 : make_below(&top, e);
    rundir_close(&top);
    return rc;
}
