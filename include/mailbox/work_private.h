/* mailbox/work_private.h - the work of a mailbox process: copies into boxes,
 * all of a turn together.  For src/mailbox alone.
 *
 * A copy that fails a step has the reason in its answer and leaves no trace;
 * the others go on. */
#ifndef MTA_MAILBOX_WORK_PRIVATE_H
#define MTA_MAILBOX_WORK_PRIVATE_H

#include "mailbox/box_private.h"
#include "mailbox/process.h"
#include "mailbox/writer.h"

struct conf;

struct mailbox_work {
    const struct conf *conf;
    struct mailbox_progress *progress;
    struct identities ids;
    char host[BOX_HOST_MAX];
    const char *below_home; /* mail_dir behind "~/"; NULL: it is no such */
    int dir;                /* mail_dir; -1: not open */
    struct fs_identity top; /* mail_dir, as it was opened */
    bool confined;          /* no other can be opened, and then: */
    bool replaced;          /* there is another: the process must end */
    bool dir_is_roots;      /* only root can change it */
    bool dir_has_group;     /* set-group-ID: names made in it get its group */
    dev_t dir_dev;          /* the disk of all mailboxes but some */
    bool dir_synced;        /* in this turn */
    bool top_durable;       /* its own entry, and those above */
    struct map boxes;
    struct list recent;
    size_t nboxes, most_boxes;
    struct list turn;     /* boxes with copies: new, or in new unsynced */
    struct list locked;   /* mboxes that wait for their lock */
    struct list answered; /* copies that are done or failed */
    /* Called when an mbox is done, before the next mailbox is opened: a copy
     * that is answered cannot be written again.  NULL: answers wait. */
    void (*answer)(void *ctx);
    void *answer_ctx;
    struct list open; /* drafts that are not synced, oldest first */
    size_t nopen, most_open, nwaiting; /* nopen: descriptors of drafts */
    long pid;
    unsigned long counter; /* for names in tmp */
    uint64_t alone_until;  /* ms: no sync of whole file systems before */
    uint64_t named_until;  /* ms: no draft without a name before */
    struct mailbox_writer_memory *memory;
};

/* --- work.c: what a process does with its copies -------------------------- */

int mailbox_work_new(struct mailbox_work **w, const struct conf *c,
                     struct mailbox_progress *p, struct err *e);
/* Before the first turn: open mail_dir, and give up root where no user's
 * identity is taken. */
int mailbox_work_drop(struct mailbox_work *w, struct err *e);
void mailbox_work_free(struct mailbox_work **w); /* and of all copies */

/* A copy for the request, whose strings need not live on; of one block of
 * memory.  NULL: no memory. */
struct box_copy *box_copy_new(const struct mailbox_request *r);
/* Take a copy into the turn. Its end is in w->answered, perhaps at once. */
void mailbox_work_add(struct mailbox_work *w, struct box_copy *c);
/* All steps but the last for all copies of the turn; mboxes that are locked
 * wait.  The sync of its drafts is the last step of the turn before. */
void mailbox_work_turn(struct mailbox_work *w);
/* The last step: the sync of new.  For when no turn follows. */
void mailbox_work_settle(struct mailbox_work *w);
/* Try the locks that are waited for; call it every BOX_LOCK_MS while
 * w->locked is not empty. */
enum { BOX_LOCK_MS = 50 };
void mailbox_work_locked(struct mailbox_work *w);

/* The progress page: call before a step that may block. */
void mailbox_work_step(struct mailbox_work *w, enum mailbox_step step,
                       uint64_t tag);

/* The end of a copy. */
void box_copy_done(struct box_copy *c);
void box_copy_fail(struct box_copy *c, const struct err *e);
void box_copy_locked(struct box_copy *c); /* waited too long */
/* of all of a box that are not at their end */
void box_fail(struct box *k, const struct err *e);

/* --- maildir_write.c, maildir_publish.c, mbox_append.c -------------------- */

void maildir_write(struct box *k);
void maildir_close_draft(struct box_copy *c);
void maildir_drop_draft(struct box_copy *c);
void maildir_sync_one(struct box_copy *c);
/* Drafts of this turn, and copies that the turn before has put into new. */
void maildir_sync_turn(struct mailbox_work *w);
void maildir_publish_turn(struct mailbox_work *w);
/* The sync of one box's copies in new, if there are any. */
void maildir_sync_new(struct box *k);

/* 0: all copies have their end; 1: the mbox is locked. */
int mbox_deliver(struct box *k);
#endif
