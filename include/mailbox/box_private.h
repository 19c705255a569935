/* mailbox/box_private.h - the mailboxes of a mailbox process, and the copies on
 * their way into them.  For src/mailbox alone.
 *
 * docs/mailbox.md has the steps and what a crash after each leaves behind. */
#ifndef MTA_MAILBOX_BOX_PRIVATE_H
#define MTA_MAILBOX_BOX_PRIVATE_H

#include "base/fs.h"
#include "base/list.h"
#include "base/map.h"
#include "mailbox/identity_private.h"
#include "mailbox/request.h"

#include <stddef.h>

enum {
    BOX_HOST_MAX = 160, /* a file name has 255 octets in all */
    BOX_FILE_MAX = 250,
    BOX_DRAFT_MAX = BOX_FILE_MAX + 45, /* a system call refuses longer names */
    BOX_TURN_COPIES = 256,             /* and octets, between syncs */
    BOX_TURN_OCTETS = 8 * 1024 * 1024
};

struct mailbox_work;

enum box_copy_state {
    BOX_NEW,
    BOX_WRITTEN, /* Maildir: a draft */
    BOX_SYNCED,  /* its octets are durable */
    BOX_FOUND,   /* Maildir: an earlier attempt has put it there */
    BOX_MOVED,   /* Maildir: in new, which is not yet synced */
    BOX_DONE,
    BOX_FAILED /* answer has the reason; nothing of the copy is left */
};

struct box_copy {
    struct list link; /* copies of one box, in order; then those to answer */
    struct list open; /* drafts that are not synced */
    struct box *box;
    struct mailbox_request r; /* its strings are behind, its body.fd the
                                 segment's below */
    struct mailbox_segment *segment;
    enum box_copy_state state;
    struct mailbox_answer answer;
    uint64_t since;            /* ms: mbox, waits for a lock; 0: it does not */
    int fd;                    /* Maildir, of the draft */
    bool unnamed;              /* the draft has no name */
    char name[BOX_FILE_MAX];   /* Maildir: in new */
    char draft[BOX_DRAFT_MAX]; /* and in tmp; begins with name */
    char room[];
};

/* A mailbox; kept across turns, because opening it costs system calls. */
struct box {
    struct map_link by_key;
    struct list recent;  /* least recently used first */
    struct list of_turn; /* has copies in this turn, or waits for its lock */
    struct list copies;
    struct mailbox_work *work;
    char key[MAILBOX_KEY_MAX];
    char *where;       /* its path, for texts and to find it again */
    const char *entry; /* the last part of where */
    struct identity id;
    uint64_t known_until; /* ms: when its user is to be looked up again */
    bool is_mbox;
    bool durable;            /* its directory entries have been synced */
    struct fs_identity seen; /* of what is durable: new, or the mbox */

    int above; /* its directory; work->dir, or this box's own, or -1 */
    int self;  /* Maildir, until its entries are durable */
    int tmp, new;
    bool unnamed;    /* Maildir: drafts need no name */
    dev_t dev;       /* Maildir: of tmp and new */
    dev_t above_dev; /* of its directory */
    unsigned in_new; /* Maildir: copies in new that its sync is for */
    bool sync_cur;   /* a copy was found in cur */

    int mbox, lock; /* mbox, while locked */
    bool made;      /* mbox: created by this process, still empty */
    off_t old_size, end;
    unsigned missing; /* mbox: line ends that the old content lacks */
    unsigned waiting; /* mbox: copies that wait for the lock */
};

/* --- box.c: find, open and close a mailbox -------------------------------- */

/* Its box, known or new; NULL: no memory. */
struct box *box_find(struct mailbox_work *w, const char *key);
/* Take the identity, open what is not open, make what is missing.  -1 with *e:
 * ERR_PERM waits for a repair, ERR_USAGE: there is no such user. */
int box_open(struct box *k, struct err *e);
/* Make its entry durable, in its directory and all the way up. */
int box_sync_entry(struct box *k, struct err *e);
void box_close(struct box *k); /* open it anew next time */
void box_free(struct box *k);
void box_forget_some(struct mailbox_work *w);

int box_take_identity(struct box *k, struct err *e);
/* The same, for changes in the directory of the mailbox: root where only root
 * can make them. */
int box_take_directory(struct box *k, struct err *e);
/* A name in the directory that this process has just made, when root made it:
 * give it to the user. */
int box_give(struct box *k, int fd, struct err *e);
/* May the user's mail be written to a file of that owner? */
bool box_owner_ok(const struct box *k, uid_t owner);
#endif
