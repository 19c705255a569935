/* spool/dirs.h - make the directories of a queue.
 *
 * docs/spool.md names them and lists what is refused. */
#ifndef MTA_SPOOL_DIRS_H
#define MTA_SPOOL_DIRS_H

#include "base/err.h"

#include <sys/types.h>

/* Make queue_dir and what belongs below it, for uid:gid (-1: ours), durable
 * with all entries above.  What is there already is only checked, and is left
 * as it is (base/rundir.h); a file system that keeps no locks and syncs
 * (base/fs_type.h) is refused.  The master calls it before it drops privileges.
 * 0, or -1 with *e. */
int spool_dirs_make(const char *queue_dir, uid_t uid, gid_t gid, struct err *e);

/* Refuse a queue directory filled by an older version of this program, whose
 * mail would never be sent. */
int spool_dirs_refuse_old(const char *queue_dir, struct err *e);

/* Check without changes what spool_dirs_make() would refuse. */
int spool_dirs_check(const char *queue_dir, uid_t uid, gid_t gid,
                     struct err *e);
#endif
