/* base/rundir.h - directories of the service: made, checked, opened.
 *
 * The queue directory and what is below it belong to the service user, which
 * can put a link in any place there; and root opens them, at a start and for
 * tools.  So no name below is followed if it is a link, everything is opened
 * from the descriptor of the directory above, only what was made here just
 * now is given an owner, through its descriptor, and what is there already is
 * refused when its type, owner or mode is wrong: with an error that names the
 * command that would mend it.
 *
 * Functions return 0, or -1 with *e (ERR_PERM: refused). */
#ifndef MTA_BASE_RUNDIR_H
#define MTA_BASE_RUNDIR_H

#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct rundir {
    int fd;              /* -1: not open */
    char path[PATH_MAX]; /* for error texts, and to open by name */
    uid_t uid;           /* whose it is, and what is made in it */
    gid_t gid;           /* (gid_t)-1: the one that comes by itself */
    bool any_owner;      /* root looks at a directory of any user */
    bool look;           /* makes nothing */
    bool volume;         /* of a container: the top, or the directory above,
                            is root's, for our group */
};
#define RUNDIR_NONE                                                            \
    {                                                                          \
        .fd = -1                                                               \
    }

/* The top: path is made if it is missing, 0711, of uid:gid (-1: ours), and so
 * are the directories above it, 0755, ours.  On the way, and at the end, links
 * are followed that root or we ourselves have made: an administrator may keep
 * the queue on another disk.  A top that root has given to our group only,
 * as containers get their volumes, is taken when we are not root.  Directories
 * that are ours and have become writable for the group are taken back: below
 * it 0700 again, and a top of ours in such a volume 0711. */
int rundir_make(struct rundir *d, const char *path, uid_t uid, gid_t gid,
                struct err *e);

/* The top as it is; root takes that of any user.  ERR_TEMP with sys ENOENT:
 * there is none. */
int rundir_open(struct rundir *d, const char *path, struct err *e);

/* The top as a start would meet it; nothing is made, and d->fd, if it is not
 * -1, serves rundir_below() alone, which then makes nothing either: where
 * there is no such directory, fd is -1 and all is well. */
int rundir_look(struct rundir *d, const char *path, uid_t uid, gid_t gid,
                struct err *e);

/* The directory path, or the nearest above it that is there, for fstatvfs()
 * and the like.  -1 with *e. */
int rundir_nearest(const char *path, struct err *e);

/* name in `above`, a directory, made if it is missing: 0700. */
int rundir_below(struct rundir *d, const struct rundir *above, const char *name,
                 struct err *e);

/* name in d, a regular file of no other name, made if it is missing: 0600.
 * Open for reading and writing; the descriptor, or -1 with *e. */
int rundir_file(const struct rundir *d, const char *name, struct err *e);

void rundir_close(struct rundir *d);
#endif
