/* maildir_sync.c - the copies of one turn through their syncs, together.
 *
 * Each fsync() of a new file or a changed directory costs a commit of the
 * file system's journal, or at least a flush of the disk's cache; two for
 * each message add up to more than all the rest.  One sync of the whole file
 * system is two commits a turn, however many messages it has. */
#include "mailbox/maildir.h"

#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TOGETHER = 3, /* so many files or mailboxes are worth it */
    SLOW_MS = 500,
    ALONE_MS = 60 * 1000
};

enum together { NOT_TRIED, SYNCED, FAILED };

/* A file system sync writes data of other programs too: where it takes long, or
 * fails, files are synced one by one for a while. */
static enum together sync_all_of(struct mailbox_batch *b, int fd, struct err *e)
{
    uint64_t began = clock_mono_ms();

    if (began < b->alone_until)
        return NOT_TRIED;
    int rc = fs_syncfs(fd), why = errno;
    uint64_t now = clock_mono_ms();
    if (rc != 0 || now - began > SLOW_MS)
        b->alone_until = now + ALONE_MS;
    if (rc == 0)
        return SYNCED;
    if (why == ENOSYS)
        return NOT_TRIED;
    err_set(e, ERR_TEMP, why, "sync the file system of %s", b->dir);
    return FAILED;
}

static struct mailbox_copy *draft_of(struct list *l)
{
    return LIST_ENTRY(l, struct mailbox_copy, of_open);
}

/* syncfs() on the oldest descriptor: it reports write-back errors since its
 * open(), which means of every file in this batch.  A failure does not name the
 * file, and a second sync may not report it again: all copies fail. */
static void sync_together(struct mailbox_batch *b)
{
    struct mailbox_copy *first = draft_of(b->open.next);
    dev_t dev = first->box->dev;
    struct err e;
    enum together how = sync_all_of(b, first->fd, &e);

    if (how == NOT_TRIED)
        return;
    for (struct list *l = b->open.next, *next; l != &b->open; l = next) {
        next = l->next;
        if (draft_of(l)->box->dev == dev)
            maildir_synced(draft_of(l), how == SYNCED ? NULL : &e);
    }
}

void maildir_sync_batch(struct mailbox_batch *b)
{
    if (b->nopen >= TOGETHER)
        sync_together(b);
    if (b->nopen > 1)
        for (struct list *l = b->open.next; l != &b->open; l = l->next)
            fs_start_sync(draft_of(l)->fd);
    while (!list_empty(&b->open))
        maildir_sync(draft_of(b->open.next));
}

/* Open mail_dir before the renames that are to be synced through it.  -1: too
 * few mailboxes to be worth it, or mail_dir cannot be opened. */
static int open_top(struct mailbox_batch *b, dev_t *dev)
{
    size_t boxes = 0;

    for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
        boxes++;
    if (boxes < TOGETHER)
        return -1;
    int fd = fs_open(b->dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return -1;
    if (!fs_is_same(&b->top, fd, ""))
        b->top_durable = false;
    if (b->top.ino == 0) { /* unknown */
        fs_close(fd);
        return -1;
    }
    *dev = b->top.dev;
    return fd;
}

/* The entries above mail_dir may be on another file system: they are made
 * durable by the first mailbox that is settled alone. */
static void settle(struct mailbox *k, enum together how, dev_t dev,
                   const struct err *e)
{
    if (k->moved == 0)
        return;
    if (how == FAILED && k->dev == dev) {
        maildir_take_back(k, e);
    } else if (how == SYNCED && k->dev == dev && k->batch->top_durable) {
        k->durable = true;
    } else {
        maildir_settle(k);
    }
}

void maildir_publish_batch(struct mailbox_batch *b)
{
    dev_t dev = 0;
    int fd = open_top(b, &dev);
    enum together how = NOT_TRIED;
    struct err e;

    for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
        maildir_move(LIST_ENTRY(l, struct mailbox, of_turn));
    if (fd >= 0) {
        how = sync_all_of(b, fd, &e);
        fs_close(fd);
    }
    for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
        settle(LIST_ENTRY(l, struct mailbox, of_turn), how, dev, &e);
}
