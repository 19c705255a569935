/* mailbox/mailbox_private.h - shared by batch.c, maildir.c and mbox.c; private
 * to src/mailbox. */
#ifndef MTA_MAILBOX_MAILBOX_PRIVATE_H
#define MTA_MAILBOX_MAILBOX_PRIVATE_H

#include "base/fs.h"
#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "mailbox/batch.h"
#include "mailbox/writer.h"

#include <limits.h>
#include <sys/types.h>

enum {
    MAILBOX_NAME_MAX = 64,
    MAILBOX_DIR_MAX = 1024,
    MAILBOX_HOST_MAX = 160, /* a file name has 255 octets in all */
    MAILBOX_FILE_MAX = 240,
    MAILBOX_PATH_MAX =
        MAILBOX_DIR_MAX + 1 + MAILBOX_NAME_MAX + 5 + MAILBOX_FILE_MAX,
    MAILBOX_OPEN_MAX =
        64 /* Maildir files open at a time; mbox files: as many */
};

enum copy_state {
    COPY_WRITTEN, /* Maildir: under tmp.  mbox: only noted down */
    COPY_SYNCED,
    COPY_DONE,
    COPY_FAILED, /* err has the reason; nothing of the copy is left */
    COPY_ABORTED
};

struct mailbox_copy {
    struct list of_box;  /* the copies of one box, in order */
    struct list of_open; /* those with a descriptor */
    struct mailbox *box;
    enum copy_state state;
    struct err err;
    int fd;                      /* Maildir, until synced */
    char name[MAILBOX_FILE_MAX]; /* Maildir */
    char *head;                  /* mbox: From line and fields */
    size_t head_n, from_n;
    struct body body; /* mbox */
    off_t at;         /* mbox: where it begins, once appended; or -1 */
};

/* A mailbox; cached across turns, because checking it costs system calls. */
struct mailbox {
    struct map_link by_name;
    struct list of_turn;
    struct list copies;
    struct mailbox_batch *batch;
    char name[MAILBOX_NAME_MAX + 1];
    bool known;            /* Maildir: is there and is safe */
    bool made;             /* mbox: created by this process, still empty */
    bool durable;          /* its directory entries have been synced */
    struct fs_identity id; /* of what is durable: new, or the mbox */
    dev_t dev;             /* Maildir: where its new is */
    unsigned moved;        /* Maildir: copies that are in new since this turn */
    int fd, lock_fd;       /* mbox, while locked */
    off_t old_size, end;   /* mbox */
    unsigned missing;      /* mbox: line ends that the old content lacks */
};

struct mailbox_batch {
    char dir[MAILBOX_DIR_MAX], host[MAILBOX_HOST_MAX];
    enum mailbox_kind kind;
    struct pool *copy_pool, *mailbox_pool;
    struct map boxes;
    struct list turn; /* boxes with copies */
    struct list open; /* copies with a descriptor, oldest first */
    size_t ncopies, nopen, nlocked;
    unsigned long counter;  /* for names */
    bool dir_synced;        /* mail_dir itself, in this turn */
    bool top_durable;       /* and its own entry, and those above */
    struct fs_identity top; /* mail_dir, of which that is known */
    uint64_t alone_until;   /* ms: no sync of the whole file system before */
    struct mailbox_writer_memory *memory;
};

void mailbox_fail(struct mailbox_copy *c, const struct err *e);
/* All copies of the mailbox that are still open. */
void mailbox_fail_all(struct mailbox *k, const struct err *e);

/* mail_dir/USER */
void mailbox_dir(char out[MAILBOX_PATH_MAX], const struct mailbox *k);

/* May mail be delivered into a file of this owner?  Its owner must be this
 * process's user, root, or the user that the mailbox is named after: in a
 * world-writable mail_dir any other user could have planted it to read the
 * mail. */
bool mailbox_owner_ok(const struct mailbox *k, uid_t owner);

/* Make the entry of a mailbox in mail_dir durable, and mail_dir's own, all the
 * way up.  Each process does so at its first use of a mailbox: the one that
 * made it may have been killed before its sync. */
int mailbox_sync_entry(struct mailbox *k, struct err *e);

/* Unlink, and retry on failure, to leave no trace. */
void mailbox_unlink(const char *path);
#endif
