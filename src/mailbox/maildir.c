#include "mailbox/maildir.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"
#include "mail/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SWEEP_MAX = 10000 }; /* entries looked at; the rest waits */

static void sub_path(char out[MAILBOX_PATH_MAX], const struct mailbox *k,
                     const char *sub, const char *name)
{
    snprintf(out, MAILBOX_PATH_MAX, "%s/%s/%s%s%s", k->batch->dir, k->name, sub,
             *name == '\0' ? "" : "/", name);
}

/* --- the directories ------------------------------------------------------ */

/* The directory exists, is not a link, and its owner is trusted with mail. */
static int check_dir(const struct mailbox *k, const char *path, dev_t *dev,
                     struct err *e)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT
                   ? 1
                   : err_set(e, ERR_TEMP, errno, "look at %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_PERM, 0, "%s is not a directory", path);
    if (!mailbox_owner_ok(k, st.st_uid))
        return err_set(e, ERR_PERM, 0, "%s belongs to uid %ld", path,
                       (long)st.st_uid);
    *dev = st.st_dev;
    return 0;
}

static int want_dir(struct mailbox *k, const char *path, struct err *e)
{
    int rc = check_dir(k, path, &k->dev, e);

    if (rc <= 0)
        return rc;
    if (fs_mkdir(path, 0700) != 0 && errno != EEXIST) /* another process made it
                                                       * first */
        return err_set(e, ERR_TEMP, errno, "make directory %s", path);
    return check_dir(k, path, &k->dev, e) == 0
               ? 0
               : err_set(e, ERR_TEMP, 0, "make directory %s", path);
}

/* By directory descriptor, not by name: the mailbox's owner could put a link in
 * its place and make this process remove files elsewhere. */
static void sweep(const struct mailbox *k)
{
    char path[MAILBOX_PATH_MAX];
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct dirent *entry;
    struct stat st;

    sub_path(path, k, "tmp", "");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL && fd >= 0)
        close(fd);
    if (d == NULL)
        return; /* best effort */
    for (int n = 0; n < SWEEP_MAX && (entry = readdir(d)) != NULL; n++)
        if (entry->d_name[0] != '.' &&
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && now - st.st_mtime > MAILDIR_TMP_AGE)
            (void)unlinkat(fd, entry->d_name, 0);
    closedir(d);
}

/* Once per process and mailbox, and again when it turns out to be gone. */
static int prepare(struct mailbox *k, struct err *e)
{
    static const char *const subs[] = { "tmp", "cur", "new" };
    char path[MAILBOX_PATH_MAX];
    struct err ignored;
    dev_t any;

    if (k->known)
        return 0;
    if (check_dir(k, k->batch->dir, &any, &ignored) == 1 &&
        os_mkdirs(k->batch->dir, 0711, e) != 0)
        return -1;
    mailbox_dir(path, k);
    if (want_dir(k, path, e) != 0)
        return -1;
    for (size_t i = 0; i < sizeof subs / sizeof subs[0]; i++) {
        sub_path(path, k, subs[i], "");
        if (want_dir(k, path, e) != 0)
            return -1;
    }
    sweep(k);
    k->known = true;
    k->durable = false;
    return 0;
}

/* --- one copy ------------------------------------------------------------- */

/* Time, process and a count that starts at a random number: unique even when
 * two containers share host name and pid.  O_EXCL proves it for tmp; only files
 * from tmp appear in new, so rename() overwrites nothing. */
static void new_name(struct mailbox_copy *c)
{
    struct mailbox_batch *b = c->box->batch;
    unsigned long long now = clock_wall_us();

    snprintf(c->name, sizeof c->name, "%llu.M%lluP%ldQ%lu.%s", now / 1000000,
             now % 1000000, (long)getpid(), b->counter++, b->host);
}

static int open_draft(struct mailbox_copy *c)
{
    char path[MAILBOX_PATH_MAX];

    new_name(c);
    sub_path(path, c->box, "tmp", c->name);
    c->fd = fs_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    return c->fd < 0 ? -1 : 0;
}

/* A cached mailbox may have been removed since: make it again. */
static int create(struct mailbox_copy *c, struct err *e)
{
    struct mailbox *k = c->box;

    for (int tries = 0; tries < 2; tries++) {
        if (prepare(k, e) != 0)
            return -1;
        if (open_draft(c) == 0)
            return 0;
        if (errno == ENOENT)
            k->known = false;
        else if (errno != EEXIST)
            break;
    }
    return err_set(e, ERR_TEMP, errno, "create tmp/%s for %s", c->name,
                   k->name);
}

static int write_message(struct mailbox_copy *c,
                         const struct mailbox_message *m)
{
    struct mailbox_writer o;
    char text[TRACE_MAX];
    struct buf fields = BUF_ON(text);

    trace_return_path(&fields, m->reverse_path);
    trace_delivered_to(&fields, m->delivered_to);
    mailbox_write_begin(&o, c->box->batch->memory, c->fd, false);
    mailbox_write_wire(&o, text, fields.n);
    mailbox_write_body(&o, &m->body);
    mailbox_write_end_line(&o);
    return mailbox_write_finish(&o);
}

static void close_draft(struct mailbox_copy *c)
{
    if (c->fd < 0)
        return;
    fs_close(c->fd);
    c->fd = -1;
    list_remove(&c->of_open);
    c->box->batch->nopen--;
}

int maildir_add(struct mailbox_copy *c, const struct mailbox_message *m,
                struct err *e)
{
    struct mailbox_batch *b = c->box->batch;

    if (create(c, e) != 0)
        return -1;
    list_push(&b->open, &c->of_open);
    b->nopen++;
    c->state = COPY_WRITTEN;
    if (write_message(c, m) != 0) {
        err_set(e, ERR_TEMP, errno, "write tmp/%s for %s", c->name,
                c->box->name);
        maildir_abort(c);
        return -1;
    }
    /* Descriptors are few: sync the oldest draft early. */
    if (b->nopen > MAILBOX_OPEN_MAX)
        maildir_sync(LIST_ENTRY(b->open.next, struct mailbox_copy, of_open));
    return 0;
}

static void remove_draft(struct mailbox_copy *c)
{
    char path[MAILBOX_PATH_MAX];

    close_draft(c);
    sub_path(path, c->box, "tmp", c->name);
    mailbox_unlink(path);
}

void maildir_synced(struct mailbox_copy *c, const struct err *e)
{
    if (e == NULL) {
        close_draft(c);
        c->state = COPY_SYNCED;
    } else {
        remove_draft(c);
        mailbox_fail(c, e);
    }
}

void maildir_sync(struct mailbox_copy *c)
{
    struct err e;
    int rc = fs_fsync(c->fd);

    if (rc != 0)
        err_set(&e, ERR_TEMP, errno, "sync tmp/%s for %s", c->name,
                c->box->name);
    maildir_synced(c, rc == 0 ? NULL : &e);
}

void maildir_abort(struct mailbox_copy *c)
{
    remove_draft(c);
    c->state = COPY_ABORTED;
}

/* --- publishing ----------------------------------------------------------- */

static void move(struct mailbox_copy *c)
{
    char from[MAILBOX_PATH_MAX], to[MAILBOX_PATH_MAX];
    struct err e;

    sub_path(from, c->box, "tmp", c->name);
    sub_path(to, c->box, "new", c->name);
    if (fs_rename(from, to) == 0) {
        c->state = COPY_DONE;
        return;
    }
    err_set(&e, ERR_TEMP, errno, "rename to %s", to);
    c->box->known = c->box->known && e.sys != ENOENT;
    remove_draft(c);
    mailbox_fail(c, &e);
}

static struct mailbox_copy *copy_of(struct list *l)
{
    return LIST_ENTRY(l, struct mailbox_copy, of_box);
}

/* The copy is about to be reported as failed, so it must not stay. */
void maildir_take_back(struct mailbox *k, const struct err *e)
{
    char path[MAILBOX_PATH_MAX];

    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == COPY_DONE) {
            sub_path(path, k, "new", copy_of(l)->name);
            mailbox_unlink(path);
            mailbox_fail(copy_of(l), e);
        }
}

void maildir_move(struct mailbox *k)
{
    k->moved = 0;
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next)
        if (copy_of(l)->state == COPY_SYNCED) {
            move(copy_of(l));
            k->moved += copy_of(l)->state == COPY_DONE;
        }
}

void maildir_settle(struct mailbox *k)
{
    char path[MAILBOX_PATH_MAX];
    struct err e;

    sub_path(path, k, "new", "");
    if (!fs_is_same(&k->id, AT_FDCWD, path))
        k->durable = false; /* another process may have made the mailbox anew */
    if (!(k->durable && k->batch->top_durable) &&
        mailbox_sync_entry(k, &e) != 0) {
        maildir_take_back(k, &e);
    } else if (fs_sync_dir(path) != 0) {
        err_set(&e, ERR_TEMP, errno, "sync %s", path);
        maildir_take_back(k, &e);
    }
}
