#include "mailbox/mbox.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"
#include "mail/trace.h"
#include "mailbox/dotlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char lock_suffix[] = ".lock";

static struct mailbox_copy *copy_of(struct list *l)
{
    return LIST_ENTRY(l, struct mailbox_copy, of_box);
}

static void lock_path(char out[MAILBOX_PATH_MAX], const struct mailbox *k)
{
    snprintf(out, MAILBOX_PATH_MAX, "%s/%s%s", k->batch->dir, k->name,
             lock_suffix);
}

/* --- open and lock -------------------------------------------------------- */

/* A link could point to any file that this process may write, and so could a
 * second hard link; a device or pipe is no mailbox. */
static int check_file(const struct mailbox *k, const struct stat *st,
                      const char *path, struct err *e)
{
    if (!S_ISREG(st->st_mode))
        return err_set(e, ERR_PERM, 0, "%s is not a file", path);
    if (st->st_nlink != 1)
        return err_set(e, ERR_PERM, 0, "%s has other names too (hard links)",
                       path);
    if (!mailbox_owner_ok(k, st->st_uid))
        return err_set(e, ERR_PERM, 0, "%s belongs to uid %ld", path,
                       (long)st->st_uid);
    return 0;
}

static int lock_file(int fd, const char *path, struct err *e)
{
    struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(fd, F_SETLK, &all) == 0)
        return 0;
    return err_set(e, ERR_TEMP, errno, "lock %s", path);
}

static int open_existing(const char *path)
{
    return fs_open(path, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0);
}

static int open_file(struct mailbox *k, const char *path, struct err *e)
{
    struct stat st;

    k->fd = open_existing(path);
    if (k->fd < 0 && errno == ENOENT) {
        k->fd = fs_open(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL, 0600);
        k->made = k->fd >= 0;
    }
    if (k->fd < 0)
        return err_set(e, errno == ELOOP ? ERR_PERM : ERR_TEMP, errno,
                       "open %s", path);
    if (fstat(k->fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", path);
    if (check_file(k, &st, path, e) != 0 || lock_file(k->fd, path, e) != 0)
        return -1;
    /* Its size is stable from here on: both locks are held. */
    if (fstat(k->fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", path);
    k->old_size = k->end = st.st_size;
    if (!fs_is_same(&k->id, k->fd, "") || k->made)
        k->durable = false;
    return 0;
}

/* After a crash, or a careless program, the last message may lack its blank
 * line or even its line end; the new message would become part of it. */
static int look_at_end(struct mailbox *k, const char *path, struct err *e)
{
    char tail[2] = { '\n', '\n' };
    off_t from = k->old_size < 2 ? 0 : k->old_size - 2;
    size_t n = (size_t)(k->old_size - from);

    k->missing = 0;
    if (n > 0 && fs_pread_all(k->fd, tail + 2 - n, n, from) != 0)
        return err_set(e, ERR_TEMP, errno, "read %s", path);
    if (n > 0)
        k->missing = tail[1] != '\n' ? 2 : tail[0] != '\n' ? 1 : 0;
    return 0;
}

/* The reverse order of taking: the dotlock last. */
static void unlock(struct mailbox *k)
{
    char path[MAILBOX_PATH_MAX];

    if (k->fd >= 0) {
        mailbox_dir(path, k);
        if (k->made && k->end == 0)
            mailbox_unlink(path); /* created by this process and still empty */
        fs_close(k->fd);
    }
    if (k->lock_fd >= 0) {
        lock_path(path, k);
        dotlock_release(AT_FDCWD, path, k->lock_fd);
        k->batch->nlocked--;
    }
    k->fd = k->lock_fd = -1;
    k->made = false;
}

/* First the dotlock, then the file's own: everywhere in this order. */
static int lock(struct mailbox *k, struct err *e)
{
    char path[MAILBOX_PATH_MAX];

    if (k->lock_fd >= 0)
        return 0;
    if (k->batch->nlocked >= MAILBOX_OPEN_MAX)
        return err_set(e, ERR_TEMP, 0, "too many mailboxes in one turn");
    lock_path(path, k);
    k->lock_fd = dotlock_take(AT_FDCWD, path, e);
    if (k->lock_fd < 0 && e->sys == ENOENT &&
        os_mkdirs(k->batch->dir, 0711, e) == 0)
        k->lock_fd = dotlock_take(AT_FDCWD, path, e);
    if (k->lock_fd < 0)
        return -1;
    k->batch->nlocked++;
    mailbox_dir(path, k);
    if (open_file(k, path, e) == 0 && look_at_end(k, path, e) == 0)
        return 0;
    unlock(k);
    return -1;
}

/* --- noting down a copy --------------------------------------------------- */

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

/* The spans of m need not live as long as the copy. */
static int note(struct mailbox_copy *c, const struct mailbox_message *m)
{
    char text[TRACE_MAX + 1024];
    struct buf head = BUF_ON(text);

    from_line(&head, m->reverse_path);
    c->from_n = head.n;
    trace_return_path(&head, m->reverse_path);
    trace_delivered_to(&head, m->delivered_to);
    c->head = malloc(head.n);
    if (c->head == NULL)
        return -1;
    memcpy(c->head, text, head.n);
    c->head_n = head.n;
    c->body = m->body;
    return 0;
}

int mbox_add(struct mailbox_copy *c, const struct mailbox_message *m,
             struct err *e)
{
    struct mailbox *k = c->box;
    struct span name = span_of(k->name);
    size_t n = sizeof lock_suffix - 1;

    if (name.n > n && strcmp(name.p + name.n - n, lock_suffix) == 0)
        return err_set(e, ERR_PERM, 0, "%s is the name of a lock", k->name);
    if (lock(k, e) != 0)
        return -1;
    if (note(c, m) == 0) {
        c->state = COPY_WRITTEN;
        return 0;
    }
    if (list_empty(&k->copies))
        unlock(k);
    return err_set(e, ERR_TEMP, 0, "no memory for a copy for %s", k->name);
}

/* --- appending ------------------------------------------------------------ */

static int cut(struct mailbox *k, off_t size)
{
    if (fs_truncate(k->fd, size) != 0 && fs_truncate(k->fd, size) != 0)
        return -1;
    k->end = size;
    return 0;
}

static int write_copy(struct mailbox_copy *c, uint64_t *size)
{
    struct mailbox *k = c->box;
    struct mailbox_writer o;

    mailbox_write_begin(&o, k->batch->memory, k->fd, true);
    if (k->end == k->old_size)
        mailbox_write_raw(&o, "\n\n", k->missing);
    mailbox_write_raw(&o, c->head, c->from_n);
    mailbox_write_wire(&o, c->head + c->from_n, c->head_n - c->from_n);
    o.quote = true;
    mailbox_write_body(&o, &c->body);
    mailbox_write_end_line(&o);
    mailbox_write_raw(&o, "\n", 1);
    *size = o.size;
    return mailbox_write_finish(&o);
}

/* On failure nothing of it is left, unless the file cannot even be truncated;
 * then nothing more is appended, because the end of the last whole message is
 * unknown. */
static int append(struct mailbox_copy *c, struct err *e)
{
    struct mailbox *k = c->box;
    uint64_t size = 0;

    c->at = k->end;
    if (write_copy(c, &size) == 0) {
        k->end += (off_t)size;
        return 0;
    }
    err_set(e, ERR_TEMP, errno, "append to mbox %s", k->name);
    c->at = -1;
    int rc = cut(k, k->end) == 0 ? -1 : -2;
    if (rc == -2)
        err_prefix(e, "half a message may be left at the end");
    mailbox_fail(c, e);
    return rc;
}

/* Append the copies in this state from `from` on; they become synced. */
static void append_all(struct mailbox *k, struct list *from,
                       enum copy_state state)
{
    off_t before = k->end;
    struct err e;
    int rc = 0;

    for (struct list *l = from; l != &k->copies && rc != -2; l = l->next)
        if (copy_of(l)->state == state)
            rc = append(copy_of(l), &e);
    if (rc != -2 && (k->end == before || fs_fsync(k->fd) == 0))
        rc = 0;
    else if (rc != -2)
        rc = err_set(&e, ERR_TEMP, errno, "sync mbox %s", k->name);
    if (rc != 0 && rc != -2)
        cut(k, before);
    for (struct list *l = from; l != &k->copies; l = l->next) {
        struct mailbox_copy *c = copy_of(l);
        if (c->state == state && rc == 0)
            c->state = COPY_SYNCED;
        else if (c->state == state)
            mailbox_fail(c, &e);
    }
}

void mbox_sync(struct mailbox *k)
{
    if (k->fd >= 0)
        append_all(k, k->copies.next, COPY_WRITTEN);
}

/* --- the end of the turn -------------------------------------------------- */

/* A copy that was taken back after it was appended is cut off together with
 * all that follows it, and the others are appended again. */
static void take_out_aborted(struct mailbox *k)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct mailbox_copy *c = copy_of(l);
        if (c->state != COPY_ABORTED || c->at < 0)
            continue;
        /* If it cannot be truncated, the next attempt makes a duplicate: no
         * loss. */
        if (cut(k, c->at) == 0)
            append_all(k, l->next, COPY_SYNCED);
        return;
    }
}

void mbox_publish(struct mailbox *k)
{
    struct err e;

    if (k->fd < 0)
        return;
    take_out_aborted(k);
    if (!k->durable && k->end > k->old_size && mailbox_sync_entry(k, &e) != 0) {
        cut(k, k->old_size);
        mailbox_fail_all(k, &e);
    }
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == COPY_SYNCED)
            copy_of(l)->state = COPY_DONE;
    unlock(k);
}
