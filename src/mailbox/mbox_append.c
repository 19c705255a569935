/* mbox_append.c - the copies of a turn at the end of one mbox (RFC 4155, quoted
 * as in mboxrd), under both locks and with one sync. */
#include "mailbox/work_private.h"

#include "base/clock.h"
#include "mail/trace.h"
#include "mailbox/dotlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct box_copy *copy_of(struct list *l)
{
    return LIST_ENTRY(l, struct box_copy, link);
}

/* --- open and lock -------------------------------------------------------- */

static void lock_name(char out[BOX_FILE_MAX], const struct box *k)
{
    snprintf(out, BOX_FILE_MAX, "%s.lock", k->entry);
}

/* A link could point to any file that the user may write, and so could a second
 * hard link; a device or pipe is no mailbox. */
static int check_file(const struct box *k, const struct stat *st, struct err *e)
{
    if (!S_ISREG(st->st_mode))
        return err_set(e, ERR_PERM, 0, "%s is not a file", k->where);
    if (st->st_nlink != 1)
        return err_set(e, ERR_PERM, 0, "%s has other names too (hard links)",
                       k->where);
    if (!box_owner_ok(k, st->st_uid))
        return err_set(e, ERR_PERM, 0, "%s belongs to uid %ld", k->where,
                       (long)st->st_uid);
    return 0;
}

/* A new file is 0600; where mail_dir gives names its group, that group's
 * programs may use it too. */
static int make_file(struct box *k, struct err *e)
{
    mode_t mode =
        k->above == k->work->dir && k->work->dir_has_group ? 0660 : 0600;

    if (box_take_directory(k, e) != 0)
        return -1;
    k->mbox =
        fs_openat(k->above, k->entry,
                  O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    k->made = k->mbox >= 0;
    if (k->mbox < 0)
        return err_set(e, ERR_TEMP, errno, "create %s", k->where);
    return box_give(k, k->mbox, e) != 0 ? -1 : box_take_identity(k, e);
}

/* 0; 1: another program has locked it. */
static int open_file(struct box *k, struct err *e)
{
    struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat st;

    k->mbox = fs_openat(k->above, k->entry,
                        O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0);
    if (k->mbox < 0 && errno != ENOENT)
        return err_set(e, ERR_TEMP, errno, "open %s", k->where);
    if (k->mbox < 0 && make_file(k, e) != 0)
        return -1;
    if (fstat(k->mbox, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", k->where);
    if (check_file(k, &st, e) != 0)
        return -1;
    if (fcntl(k->mbox, F_SETLK, &all) != 0) {
        err_set(e, ERR_TEMP, errno, "lock %s", k->where);
        return e->sys == EAGAIN || e->sys == EACCES ? 1 : -1;
    }
    /* Its size is stable from here on: both locks are held. */
    if (fstat(k->mbox, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", k->where);
    k->old_size = k->end = st.st_size;
    if (!fs_is_same(&k->seen, k->mbox, "") || k->made)
        k->durable = false;
    return 0;
}

/* After a crash, or a careless program, the last message may lack its blank
 * line or even its line end; the new message would become part of it. */
static int look_at_end(struct box *k, struct err *e)
{
    char tail[2] = { '\n', '\n' };
    off_t from = k->old_size < 2 ? 0 : k->old_size - 2;
    size_t n = (size_t)(k->old_size - from);

    k->missing = 0;
    if (n > 0 && fs_pread_all(k->mbox, tail + 2 - n, n, from) != 0)
        return err_set(e, ERR_TEMP, errno, "read %s", k->where);
    if (n > 0)
        k->missing = tail[1] != '\n' ? 2 : tail[0] != '\n' ? 1 : 0;
    return 0;
}

/* The reverse order of taking: the dotlock last. */
static void unlock(struct box *k)
{
    char name[BOX_FILE_MAX];
    struct err e;
    bool may = box_take_directory(k, &e) == 0;

    if (k->mbox >= 0) {
        if (may && k->made && k->end == 0) /* made here and still empty */
            fs_unlinkat(k->above, k->entry);
        fs_close(k->mbox);
    }
    if (k->lock >= 0) {
        lock_name(name, k);
        if (may)
            dotlock_release(k->above, name, k->lock);
        else
            fs_close(k->lock); /* is stale, for its flock() is gone */
    }
    k->mbox = k->lock = -1;
    k->made = false;
}

/* First the dotlock, then the file's own: everywhere in this order.  0; 1:
 * another program has one of them. */
static int lock(struct box *k, struct err *e)
{
    char name[BOX_FILE_MAX];

    k->end = 0;
    lock_name(name, k);
    if (box_take_directory(k, e) != 0)
        return -1;
    k->lock = dotlock_take(k->above, name, e);
    if (k->lock < 0)
        return e->sys == EEXIST ? 1 : -1;
    int rc = box_take_identity(k, e) != 0 ? -1 : open_file(k, e);
    if (rc == 0)
        rc = look_at_end(k, e);
    if (rc != 0)
        unlock(k);
    return rc;
}

/* --- appending ------------------------------------------------------------ */

/* `From sender date`, RFC 4155: no blank in the sender, asctime in UTC. */
static void from_line(struct buf *out, struct span sender)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm tm = { 0 };
    char date[32] = "Thu Jan  1 00:00:00 1970";

    if (sender.n == 0 || sender.n > 512)
        sender = span_of("MAILER-DAEMON");
    buf_adds(out, "From ");
    for (size_t i = 0; i < sender.n; i++) {
        unsigned char c = (unsigned char)sender.p[i];
        buf_addc(out, c <= ' ' || c == 0x7f ? '-' : sender.p[i]);
    }
    if (gmtime_r(&now, &tm) != NULL)
        asctime_r(&tm, date); /* locale-free; it ends in a newline */
    buf_addf(out, " %.24s\n", date);
}

static int cut(struct box *k, off_t size)
{
    if (fs_truncate(k->mbox, size) != 0 && fs_truncate(k->mbox, size) != 0)
        return -1;
    k->end = size;
    return 0;
}

/* *unreadable: the message is at fault, not the mbox. */
static int write_copy(struct box_copy *c, uint64_t *size, bool *unreadable)
{
    struct box *k = c->box;
    char text[TRACE_MAX + 2048];
    struct buf head = BUF_ON(text);
    struct mailbox_writer o;

    from_line(&head, c->r.reverse_path);
    size_t from_n = head.n;
    trace_return_path(&head, c->r.reverse_path);
    trace_delivered_to(&head, c->r.delivered_to);
    mailbox_write_begin(&o, k->work->memory, k->mbox, true);
    if (k->end == k->old_size)
        mailbox_write_raw(&o, "\n\n", k->missing);
    mailbox_write_raw(&o, text, from_n);
    mailbox_write_wire(&o, text + from_n, head.n - from_n);
    o.quote = true;
    mailbox_write_body(&o, &c->r.body);
    mailbox_write_end_line(&o);
    mailbox_write_raw(&o, "\n", 1);
    *size = o.size;
    int rc = mailbox_write_finish(&o);
    *unreadable = o.unreadable;
    return rc;
}

/* On failure nothing of it is left, unless the file cannot even be truncated;
 * then -2, and nothing more is appended, because the end of the last whole
 * message is unknown. */
static int append(struct box_copy *c, struct err *e)
{
    struct box *k = c->box;
    uint64_t size = 0;
    bool unreadable;

    mailbox_work_step(k->work, MAILBOX_WRITING, c->r.tag);
    if (write_copy(c, &size, &unreadable) == 0) {
        k->end += (off_t)size;
        c->state = BOX_WRITTEN;
        return 0;
    }
    err_set(e, ERR_TEMP, errno,
            unreadable ? "read the message from the queue for %s"
                       : "append to %s",
            k->where);
    c->answer.damaged = unreadable && e->sys == EBADMSG;
    int rc = cut(k, k->end) == 0 ? -1 : -2;
    if (rc == -2)
        err_prefix(e, "half a message may be left at the end");
    box_copy_fail(c, e);
    return rc;
}

/* Append all and make them durable. */
static void append_all(struct box *k)
{
    struct err e;
    int rc = 0;

    for (struct list *l = k->copies.next; l != &k->copies && rc != -2;
         l = l->next)
        if (copy_of(l)->state == BOX_NEW)
            rc = append(copy_of(l), &e);
    mailbox_work_step(k->work, MAILBOX_SYNCING, 0);
    if (rc != -2 && k->end != k->old_size) {
        rc = fs_fsync(k->mbox) == 0
                 ? 0
                 : err_set(&e, ERR_TEMP, errno, "sync %s", k->where);
        if (rc == 0 && !k->durable)
            rc = box_sync_entry(k, &e);
        if (rc != 0)
            cut(k, k->old_size);
    } else if (rc == -2) {
        box_fail(k, &e);
        return;
    }
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == BOX_WRITTEN) {
            if (rc == 0)
                box_copy_done(copy_of(l));
            else
                box_copy_fail(copy_of(l), &e);
        }
}

int mbox_deliver(struct box *k)
{
    struct err e;
    int rc = lock(k, &e);

    if (rc > 0)
        return 1;
    if (rc < 0) {
        box_fail(k, &e);
        return 0;
    }
    append_all(k);
    unlock(k);
    return 0;
}
