/* base/fs_type.h - what a file system keeps of the promises of flock() and
 * fsync(), by a list of those that are known.
 *
 * docs/spool.md has the list with reasons. */
#ifndef MTA_BASE_FS_TYPE_H
#define MTA_BASE_FS_TYPE_H

#include <stdbool.h>

enum fs_trust {
    FS_DISK,    /* keeps locks and syncs, and syncfs() reports failures */
    FS_MEMORY,  /* the same, but all is lost with the machine */
    FS_LAYERED, /* keeps them for files and directories; syncfs() perhaps not */
    FS_UNKNOWN, /* not in the list */
    FS_REFUSED  /* a server or another process keeps them, or does not */
};

struct fs_type {
    unsigned long magic; /* f_type of statfs(2) */
    const char *name;
    enum fs_trust trust;
    bool unnamed; /* see fs_type_keeps_unnamed() */
};

/* Never NULL; a type without a row is FS_UNKNOWN. */
const struct fs_type *fs_type_by_magic(unsigned long magic);

/* Of the open file; NULL with errno. */
const struct fs_type *fs_type_of(int fd);

/* Whether fs_syncfs() may stand for an fsync() of each file. */
bool fs_type_keeps_syncfs(const struct fs_type *t);

/* Whether the octets of a file that was synced before it had a name are durable
 * with the name.  (btrfs syncs such a file when its log has the name, and that
 * is no promise.) */
bool fs_type_keeps_unnamed(const struct fs_type *t);
#endif
