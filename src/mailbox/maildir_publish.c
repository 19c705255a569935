/* maildir_publish.c - the Maildirs of a turn through their syncs, together.
 *
 * Each fsync() of a new file or a changed directory costs a commit of the file
 * system's journal, or at least a flush of the disk's cache; two for each
 * message add up to more than all the rest.  One sync of the whole file system
 * serves all drafts of a turn, and the renames of the turn before. */
#include "mailbox/work_private.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    TOGETHER = 3, /* so many files and mailboxes are worth it */
    SLOW_MS = 500,
    ALONE_MS = 60 * 1000,
    NAMED_MS = 60 * 1000
};

static struct box_copy *copy_of(struct list *l)
{
    return LIST_ENTRY(l, struct box_copy, link);
}

static struct box_copy *draft_of(struct list *l)
{
    return LIST_ENTRY(l, struct box_copy, open);
}

static struct box *box_of(struct list *l)
{
    return LIST_ENTRY(l, struct box, of_turn);
}

/* True: all of the file system is durable.  It writes data of other programs
 * too: where it takes long, or fails, files are synced one by one for a while;
 * the error is theirs then, for it names no file here. */
static bool sync_together(struct mailbox_work *w, int fd)
{
    uint64_t began = clock_mono_ms();

    if (began < w->alone_until)
        return false;
    int rc = fs_syncfs(fd);
    uint64_t now = clock_mono_ms();
    if (rc != 0 || now - began > SLOW_MS)
        w->alone_until = now + ALONE_MS;
    return rc == 0;
}

/* --- drafts --------------------------------------------------------------- */

static void is_synced(struct box_copy *c)
{
    if (c->unnamed)
        list_remove(&c->open);
    else
        maildir_close_draft(c);
    c->state = BOX_SYNCED;
}

void maildir_sync_one(struct box_copy *c)
{
    struct err e;

    mailbox_work_step(c->box->work, MAILBOX_SYNCING, 0);
    if (fs_fsync(c->fd) == 0) {
        is_synced(c);
        return;
    }
    err_set(&e, ERR_TEMP, errno, "sync a message in %s", c->box->where);
    maildir_drop_draft(c);
    box_copy_fail(c, &e);
}

/* --- renames -------------------------------------------------------------- */

/* Where the file system cannot rename without replacing, the name alone
 * decides: it belongs to this copy, and only this process makes it. */
static int rename_draft(const struct box_copy *c)
{
    const struct box *k = c->box;
    struct stat st;

    if (c->unnamed)
        return fs_name(c->fd, k->new, c->name);
    if (fs_rename_new(k->tmp, c->draft, k->new, c->name) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    errno = EEXIST;
    if (fstatat(k->new, c->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return -1;
    return renameat(k->tmp, c->draft, k->new, c->name);
}

static void move(struct box_copy *c)
{
    struct box *k = c->box;
    struct err e;

    if (rename_draft(c) == 0) {
        c->state = BOX_MOVED;
        k->in_new++;
        if (c->unnamed)
            maildir_close_draft(c);
        return;
    }
    err_set(&e, ERR_TEMP, errno, "rename to %s/new/%s", k->where, c->name);
    maildir_drop_draft(c);
    if (c->unnamed && e.sys != EEXIST) /* without /proc, none can be named */
        k->work->named_until = clock_mono_ms() + NAMED_MS;
    if (e.sys == EEXIST) { /* by an earlier attempt, perhaps not yet synced */
        c->state = BOX_FOUND;
        return;
    }
    k->known_until = 0; /* its directories may have gone */
    box_copy_fail(c, &e);
}

static bool has_any(const struct box *k)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == BOX_SYNCED || copy_of(l)->state == BOX_FOUND)
            return true;
    return false;
}

static void drop_drafts(struct box *k)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == BOX_SYNCED)
            maildir_drop_draft(copy_of(l));
}

static void move_all(struct box *k)
{
    struct err e;

    k->in_new = 0;
    if (!has_any(k))
        return;
    if (box_take_identity(k, &e) != 0) {
        drop_drafts(k);
        box_fail(k, &e);
        return;
    }
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = copy_of(l);
        if (c->state == BOX_SYNCED) {
            mailbox_work_step(k->work, MAILBOX_PUBLISHING, c->r.tag);
            move(c);
        }
        k->in_new += c->state == BOX_FOUND;
    }
}

/* --- directories ---------------------------------------------------------- */

static int sync_cur(struct box *k)
{
    int fd =
        fs_openat(k->new, "../cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

    if (fd < 0)
        return -1;
    int rc = fs_fsync(fd), why = errno;
    fs_close(fd);
    errno = why;
    return rc;
}

/* The entries of new, of the mailbox itself at its first use, and of cur where
 * a copy of an earlier attempt is. */
static int sync_box(struct box *k, bool in_new, struct err *e)
{
    if (!k->durable && box_sync_entry(k, e) != 0)
        return -1;
    if (!in_new && fs_fsync(k->new) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s/new", k->where);
    if (k->sync_cur && sync_cur(k) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s/cur", k->where);
    k->sync_cur = false;
    return 0;
}

/* The end of the copies in new.  What is reported as failed must not stay, or a
 * later attempt makes a second one. */
static void settle(struct box *k, bool synced)
{
    struct mailbox_work *w = k->work;
    struct err e;

    if (k->in_new == 0)
        return;
    k->in_new = 0;
    if (synced && k->above_dev == k->dev && w->top_durable && !k->durable) {
        k->durable = true;
        fs_close(k->self);
        k->self = -1;
    }
    mailbox_work_step(w, MAILBOX_SYNCING, 0);
    int rc = sync_box(k, synced, &e);
    bool ours = rc != 0 && box_take_identity(k, &(struct err){ 0 }) == 0;
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = copy_of(l);
        if (c->state != BOX_MOVED && c->state != BOX_FOUND)
            continue;
        if (rc == 0) {
            box_copy_done(c);
            continue;
        }
        if (c->state == BOX_MOVED && ours &&
            fs_unlinkat(k->new, c->name) != 0 && errno != ENOENT)
            fs_unlinkat(k->new, c->name);
        box_copy_fail(c, &e);
    }
}

void maildir_sync_new(struct box *k)
{
    bool synced = k->work->dir_synced;

    settle(k, false);
    k->work->dir_synced = synced; /* others may yet be made in mail_dir */
}

/* --- together ------------------------------------------------------------- */

/* Drafts, and mailboxes with copies in new, on that file system.  *fd: one that
 * was opened before all of them were written, because syncfs() reports
 * write-back errors since its open(). */
static unsigned count_unsynced(const struct mailbox_work *w, dev_t dev, int *fd)
{
    unsigned drafts = 0, boxes = 0;

    for (struct list *l = w->open.next; l != &w->open; l = l->next)
        if (draft_of(l)->box->dev == dev && drafts++ == 0)
            *fd = draft_of(l)->fd;
    for (struct list *l = w->turn.next; l != &w->turn; l = l->next)
        if (box_of(l)->in_new > 0 && box_of(l)->dev == dev && boxes++ == 0)
            *fd = box_of(l)->new;
    return drafts + boxes;
}

static void sync_file_system(struct mailbox_work *w, dev_t dev)
{
    int fd = -1;

    if (count_unsynced(w, dev, &fd) < TOGETHER || !sync_together(w, fd))
        return;
    for (struct list *l = w->open.next, *next; l != &w->open; l = next) {
        next = l->next;
        if (draft_of(l)->box->dev == dev)
            is_synced(draft_of(l));
    }
    for (struct list *l = w->turn.next; l != &w->turn; l = l->next)
        if (box_of(l)->dev == dev)
            settle(box_of(l), true);
}

void maildir_sync_turn(struct mailbox_work *w)
{
    dev_t last = 0;

    mailbox_work_step(w, MAILBOX_SYNCING, 0);
    for (struct list *l = w->turn.next; l != &w->turn; l = l->next) {
        const struct box *k = box_of(l);
        if (!k->is_mbox && k->new >= 0 && k->dev != last)
            sync_file_system(w, last = k->dev);
    }
    if (w->nopen > 1)
        for (struct list *l = w->open.next; l != &w->open; l = l->next)
            fs_start_sync(draft_of(l)->fd);
    while (!list_empty(&w->open))
        maildir_sync_one(draft_of(w->open.next));
    for (struct list *l = w->turn.next; l != &w->turn; l = l->next)
        settle(box_of(l), false);
}

void maildir_publish_turn(struct mailbox_work *w)
{
    for (struct list *l = w->turn.next; l != &w->turn; l = l->next)
        if (!box_of(l)->is_mbox)
            move_all(box_of(l));
}
