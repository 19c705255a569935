/* maildir_write.c - the copies of a turn for one Maildir, into its tmp. */
#include "mailbox/work_private.h"

#include "base/clock.h"
#include "mail/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct box_copy *copy_of(struct list *l)
{
    return LIST_ENTRY(l, struct box_copy, link);
}

/* --- names ---------------------------------------------------------------- */

/* The name in new follows from the message and the recipient alone, so that
 * two attempts have one name. */
static void make_name(struct box_copy *c)
{
    const struct mailbox_request *r = &c->r;
    char id[MSG_ID_TEXT];

    msg_id_text(id, r->id);
    snprintf(c->name, sizeof c->name, "%llu.%s-%llu-%u.%s",
             (unsigned long long)(r->arrival / 1000000), id,
             (unsigned long long)r->part, r->slot, c->box->work->host);
}

/* That in tmp is of this attempt alone: a predecessor that was killed in a
 * system call may still end that call. */
static void make_draft_name(struct box_copy *c)
{
    struct mailbox_work *w = c->box->work;

    snprintf(c->draft, sizeof c->draft, "%s.P%ldQ%lu", c->name, w->pid,
             w->counter++);
}

/* --- an earlier attempt --------------------------------------------------- */

/* In cur, flags stand behind the name. */
static bool is_name(const char *entry, const char *name)
{
    size_t n = strlen(name);

    return strncmp(entry, name, n) == 0 &&
           (entry[n] == '\0' || entry[n] == ':' || entry[n] == ',');
}

static void compare(struct box *k, const char *entry)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->r.look_first && copy_of(l)->state == BOX_NEW &&
            is_name(entry, copy_of(l)->name)) {
            copy_of(l)->state = BOX_FOUND;
            k->sync_cur = true;
        }
}

static int look_in_cur(struct box *k, struct err *e)
{
    int fd = openat(k->new, "../cur",
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int why = errno;

    if (d == NULL && fd >= 0)
        close(fd);
    if (d == NULL)
        return fd < 0 && why == ENOENT
                   ? 0
                   : err_set(e, ERR_TEMP, why, "open %s/cur", k->where);
    while (errno = 0, (entry = readdir(d)) != NULL)
        compare(k, entry->d_name);
    why = errno;
    closedir(d);
    return why == 0 ? 0 : err_set(e, ERR_TEMP, why, "read %s/cur", k->where);
}

static void look_in_new(struct box_copy *c)
{
    struct stat st;
    struct err e;

    if (fstatat(c->box->new, c->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        c->state = BOX_FOUND;
    } else if (errno != ENOENT) {
        err_set(&e, ERR_TEMP, errno, "look for %s/new/%s", c->box->where,
                c->name);
        box_copy_fail(c, &e);
    }
}

/* One pass over cur for all copies that a crash may have left there.  Where it
 * cannot be seen whether a copy is there, none is made. */
static void look_for_earlier(struct box *k)
{
    unsigned wanted = 0;
    struct err e;

    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = copy_of(l);
        if (!c->r.look_first || c->state != BOX_NEW)
            continue;
        look_in_new(c);
        wanted += c->state == BOX_NEW;
    }
    if (wanted == 0 || look_in_cur(k, &e) == 0)
        return;
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->r.look_first && copy_of(l)->state == BOX_NEW)
            box_copy_fail(copy_of(l), &e);
}

/* --- one copy ------------------------------------------------------------- */

static int write_message(struct box_copy *c, struct err *e)
{
    struct mailbox_writer o;
    char text[TRACE_MAX + 1024];
    struct buf fields = BUF_ON(text);

    trace_return_path(&fields, c->r.reverse_path);
    trace_delivered_to(&fields, c->r.delivered_to);
    mailbox_write_begin(&o, c->box->work->memory, c->fd, false);
    mailbox_write_wire(&o, text, fields.n);
    mailbox_write_body(&o, &c->r.body);
    mailbox_write_end_line(&o);
    if (mailbox_write_finish(&o) == 0)
        return 0;
    err_set(e, ERR_TEMP, errno,
            o.unreadable ? "read the message from the queue for %s"
                         : "write a message in %s",
            c->box->where);
    c->answer.damaged = o.unreadable && e->sys == EBADMSG;
    return -1;
}

void maildir_close_draft(struct box_copy *c)
{
    fs_close(c->fd);
    c->fd = -1;
    list_remove(&c->open);
    c->box->work->nopen--;
}

void maildir_drop_draft(struct box_copy *c)
{
    if (c->fd >= 0)
        maildir_close_draft(c);
    if (c->unnamed)
        return;
    if (fs_unlinkat(c->box->tmp, c->draft) != 0 && errno != ENOENT)
        fs_unlinkat(c->box->tmp, c->draft);
}

/* Some kernels and file systems have no files without names; and while a file
 * has none it keeps its descriptor until it is in new. */
static int open_draft(struct box_copy *c)
{
    struct box *k = c->box;
    const struct mailbox_work *w = k->work;

    c->unnamed = k->unnamed && w->nopen < w->most_open &&
                 clock_mono_ms() >= w->named_until;
    if (c->unnamed) {
        int fd = fs_unnamed(k->new, 0600);
        if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR &&
                        errno != EINVAL && errno != ENOSYS))
            return fd;
        k->unnamed = c->unnamed = false;
    }
    make_draft_name(c);
    return fs_openat(k->tmp, c->draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                     0600);
}

/* Descriptors are few: sync the oldest draft early, if that closes it. */
static void sync_early(struct mailbox_work *w)
{
    for (struct list *l = w->open.next; l != &w->open; l = l->next) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, open);
        if (!c->unnamed) {
            maildir_sync_one(c);
            return;
        }
    }
}

/* *gone: the directory does not exist any more. */
static int write_copy(struct box_copy *c, bool *gone, struct err *e)
{
    struct box *k = c->box;
    struct mailbox_work *w = k->work;

    *gone = false;
    c->fd = open_draft(c);
    if (c->fd < 0) {
        *gone = errno == ENOENT;
        return c->unnamed ? err_set(e, ERR_TEMP, errno,
                                    "create a file in %s/new", k->where)
                          : err_set(e, ERR_TEMP, errno, "create %s/tmp/%s",
                                    k->where, c->draft);
    }
    list_push(&w->open, &c->open);
    w->nopen++;
    if (write_message(c, e) != 0) {
        maildir_drop_draft(c);
        return -1;
    }
    c->state = BOX_WRITTEN;
    if (w->nopen > w->most_open)
        sync_early(w);
    return 0;
}

/* Another program removed the mailbox since it was opened. */
static int open_again(struct box *k, struct err *e)
{
    box_close(k);
    if (box_open(k, e) != 0)
        return -1;
    return k->is_mbox
               ? err_set(e, ERR_TEMP, 0, "%s has become a file", k->where)
               : 0;
}

void maildir_write(struct box *k)
{
    struct err e;
    bool gone, again = false, written = false;

    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == BOX_NEW)
            make_name(copy_of(l));
    look_for_earlier(k);
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = copy_of(l);
        if (c->state != BOX_NEW)
            continue;
        mailbox_work_step(k->work, MAILBOX_WRITING, c->r.tag);
        int rc = write_copy(c, &gone, &e);
        if (rc != 0 && gone && !again && !written) {
            again = true;
            if (open_again(k, &e) != 0) {
                box_fail(k, &e);
                return;
            }
            rc = write_copy(c, &gone, &e);
        } else if (rc != 0 && gone) {
            k->known_until = 0; /* drafts are there: next turn */
        }
        written = written || rc == 0;
        if (rc != 0)
            box_copy_fail(c, &e);
    }
}
