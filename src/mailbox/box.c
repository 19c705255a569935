/* box.c - find, open and close a mailbox, with the identity of its user. */
#include "mailbox/work_private.h"

#include "base/clock.h"
#include "base/fs_type.h"
#include "config/conf.h"
#include "mailbox/where_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    USER_KNOWN_MS = 60 * 1000,
    TMP_AGE = 36 * 3600, /* s: what a crash left under tmp */
    SWEEP_MAX = 10000,   /* entries looked at; the rest waits */
    DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
};

static void close_one(int *fd)
{
    if (*fd >= 0)
        fs_close(*fd);
    *fd = -1;
}

/* --- identity ------------------------------------------------------------- */

int box_take_identity(struct box *k, struct err *e)
{
    return identity_take(&k->work->ids, &k->id, e);
}

/* Is the mailbox directly in a mail_dir that only root can change?  Then
 * root may make names there: no user can put anything in their place. */
static bool is_roots(const struct box *k)
{
    return k->work->ids.switches && k->work->dir_is_roots &&
           k->above == k->work->dir;
}

int box_take_directory(struct box *k, struct err *e)
{
    return is_roots(k) ? identity_root(&k->work->ids, e)
                       : box_take_identity(k, e);
}

int box_give(struct box *k, int fd, struct err *e)
{
    gid_t gid = k->work->dir_has_group ? (gid_t)-1 : k->id.gid;

    if (!is_roots(k) || fchown(fd, k->id.uid, gid) == 0)
        return 0;
    return err_set(e, ERR_TEMP, errno, "give %s to uid %ld", k->where,
                   (long)k->id.uid);
}

/* Root's too: no other user can give root a file. */
bool box_owner_ok(const struct box *k, uid_t owner)
{
    uid_t ours = k->work->ids.switches ? k->id.uid : geteuid();

    return owner == ours || owner == 0;
}

/* Whose mailbox is it?  *home: where mailboxes are below it. */
static int find_user(struct box *k, char home[PATH_MAX], struct err *e)
{
    struct mailbox_work *w = k->work;
    struct identity_user u = { .home = "" };

    home[0] = '\0';
    if (w->conf->local.users.source != CONF_USERS_PASSWD)
        return 0; /* one user's: see mailbox_work_new() */
    if (identity_root(&w->ids, e) != 0)
        return -1;
    if (mailbox_owner(&w->conf->local, k->key, w->ids.switches, &u, e) != 0)
        return -1;
    k->id = u.id;
    memcpy(home, u.home, PATH_MAX);
    return 0;
}

/* --- the directory of the mailbox ----------------------------------------- */

/* A directory in `above`, not through a link; made if it is missing. */
static int open_dir(int above, const char *name, mode_t mode)
{
    int fd = fs_openat(above, name, DIRECTORY, 0);

    if (fd < 0 && errno == ENOENT &&
        (fs_mkdirat(above, name, mode) == 0 || errno == EEXIST))
        fd = fs_openat(above, name, DIRECTORY, 0);
    return fd;
}

/* Go down from fd, which is closed, to the directory of the last part of path.
 * *last: that part. */
static int walk(int fd, const char *path, const char **last)
{
    char part[NAME_MAX + 1];
    const char *slash;

    for (; fd >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        int next = -1;
        errno = ENAMETOOLONG;
        if (slash == path)
            continue; /* "//" */
        if (span_copy(part, sizeof part,
                      (struct span){ path, (size_t)(slash - path) }) &&
            strcmp(part, "..") != 0)
            next = open_dir(fd, part, 0700);
        int why = errno;
        fs_close(fd);
        errno = why;
        fd = next;
    }
    *last = path;
    return fd;
}

/* home is the administrator's path, and may be behind links. */
static int open_above(struct box *k, const char *home)
{
    struct mailbox_work *w = k->work;
    const char *path = k->where + strlen(home);

    if (w->below_home != NULL) {
        path += strspn(path, "/");
        return walk(fs_open(home, O_RDONLY | O_DIRECTORY, 0), path, &k->entry);
    }
    path = k->where + strlen(w->conf->local.mail_dir) + 1;
    k->entry = path;
    const char *slash = strchr(path, '/');
    if (slash == NULL)
        return w->dir;
    char domain[NAME_MAX + 1];
    if (!span_copy(domain, sizeof domain,
                   (struct span){ path, (size_t)(slash - path) })) {
        errno = ENAMETOOLONG;
        return -1;
    }
    k->entry = slash + 1;
    return open_dir(w->dir, domain, 0711);
}

/* --- a Maildir ------------------------------------------------------------ */

static int check_dir(struct box *k, const char *part, int fd, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s/%s", k->where, part);
    if (!box_owner_ok(k, st.st_uid))
        return err_set(e, ERR_PERM, 0, "%s/%s belongs to uid %ld", k->where,
                       part, (long)st.st_uid);
    k->dev = st.st_dev;
    return 0;
}

static int open_part(struct box *k, const char *part, int *fd, struct err *e)
{
    *fd = open_dir(k->self, part, 0700);
    if (*fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s/%s", k->where, part);
    return check_dir(k, part, *fd, e);
}

static void sweep(const struct box *k)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct dirent *entry;
    struct stat st;
    int fd = openat(k->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (d == NULL && fd >= 0)
        close(fd);
    if (d == NULL)
        return; /* best effort */
    for (int n = 0; n < SWEEP_MAX && (entry = readdir(d)) != NULL; n++)
        if (entry->d_name[0] != '.' &&
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && now - st.st_mtime > TMP_AGE)
            (void)unlinkat(fd, entry->d_name, 0);
    closedir(d);
}

static int make_maildir(struct box *k, struct err *e)
{
    if (box_take_directory(k, e) != 0)
        return -1;
    if (fs_mkdirat(k->above, k->entry, 0700) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMP, errno, "make directory %s", k->where);
    k->self = fs_openat(k->above, k->entry, DIRECTORY, 0);
    if (k->self < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", k->where);
    return box_give(k, k->self, e) != 0 ? -1 : box_take_identity(k, e);
}

/* A crash between mkdir() and chown() left it root's. */
static int give_again(struct box *k, struct err *e)
{
    struct stat st;

    if (!is_roots(k) || k->id.uid == 0 || fstat(k->self, &st) != 0 ||
        st.st_uid != 0 || st.st_nlink != 2 || (st.st_mode & 077) != 0)
        return 0;
    if (identity_root(&k->work->ids, e) != 0 || box_give(k, k->self, e) != 0)
        return -1;
    return box_take_identity(k, e);
}

static int open_maildir(struct box *k, struct err *e)
{
    int cur = -1;

    k->self = fs_openat(k->above, k->entry, DIRECTORY, 0);
    if (k->self < 0 && errno != ENOENT)
        return err_set(e, ERR_TEMP, errno, "open %s", k->where);
    if (k->self < 0 && make_maildir(k, e) != 0)
        return -1;
    if (give_again(k, e) != 0 || check_dir(k, "", k->self, e) != 0 ||
        open_part(k, "cur", &cur, e) != 0 ||
        open_part(k, "new", &k->new, e) != 0 ||
        open_part(k, "tmp", &k->tmp, e) != 0) {
        if (cur >= 0)
            fs_close(cur);
        return -1;
    }
    fs_close(cur);
    const struct fs_type *type = fs_type_of(k->new);
    k->unnamed = type != NULL && fs_type_keeps_unnamed(type);
    if (!fs_is_same(&k->seen, k->new, ""))
        k->durable = false;
    if (k->durable)
        close_one(&k->self);
    sweep(k);
    return 0;
}

/* --- opening -------------------------------------------------------------- */

static int choose_kind(struct box *k, struct err *e)
{
    struct stat st;
    bool there = fstatat(k->above, k->entry, &st, AT_SYMLINK_NOFOLLOW) == 0;

    if (!there && errno != ENOENT)
        return err_set(e, ERR_TEMP, errno, "look at %s", k->where);
    const char *fault =
        mailbox_form(&k->work->conf->local, there ? &st : NULL, &k->is_mbox);
    return fault == NULL ? 0
                         : err_set(e, ERR_PERM, 0, "%s %s", k->where, fault);
}

static int open_anew(struct box *k, struct err *e)
{
    char home[PATH_MAX];
    struct stat st;

    if (find_user(k, home, e) != 0)
        return -1;
    free(k->where);
    k->where = mailbox_path(&k->work->conf->local, k->key, home);
    if (k->where == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for mailbox %s", k->key);
    if (box_take_identity(k, e) != 0)
        return -1;
    k->above = open_above(k, home);
    if (k->above < 0)
        return err_set(e, ERR_TEMP, errno, "open the directory of %s",
                       k->where);
    if (fstat(k->above, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at the directory of %s",
                       k->where);
    k->above_dev = st.st_dev;
    if (choose_kind(k, e) != 0)
        return -1;
    k->known_until = clock_mono_ms() + USER_KNOWN_MS;
    return k->is_mbox ? 0 : open_maildir(k, e);
}

/* Another program may have put another mailbox there; its name leads to the
 * same new as before, or all is opened anew. */
static bool is_open(struct box *k)
{
    char path[PATH_MAX];

    if (k->above < 0 || clock_mono_ms() >= k->known_until)
        return false;
    if (k->is_mbox) {
        struct stat st; /* it may have become a directory */
        return fstatat(k->above, k->entry, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
               S_ISREG(st.st_mode);
    }
    bool in_mail_dir = k->above == k->work->dir; /* that is still the same */
    int n = snprintf(path, sizeof path, "%s/new",
                     in_mail_dir ? k->entry : k->where);
    if (n > 0 && (size_t)n < sizeof path &&
        fs_is_same(&k->seen, in_mail_dir ? k->above : AT_FDCWD, path))
        return true;
    k->durable = false;
    return false;
}

int box_open(struct box *k, struct err *e)
{
    if (k->above >= 0 && box_take_identity(k, e) != 0)
        return -1;
    if (is_open(k))
        return 0;
    box_close(k);
    if (open_anew(k, e) == 0)
        return 0;
    box_close(k);
    return -1;
}

void box_close(struct box *k)
{
    maildir_sync_new(k); /* through the directories that its copies are in */
    if (k->above == k->work->dir)
        k->above = -1;
    close_one(&k->above);
    close_one(&k->self);
    close_one(&k->tmp);
    close_one(&k->new);
}

int box_sync_entry(struct box *k, struct err *e)
{
    struct mailbox_work *w = k->work;
    bool shared = k->above == w->dir && !k->is_mbox; /* Maildirs are all there
                                                      * before the first sync */

    if (k->self >= 0 && fs_fsync(k->self) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", k->where);
    if (!(shared && w->dir_synced) && fs_fsync(k->above) != 0)
        return err_set(e, ERR_TEMP, errno, "sync the directory of %s",
                       k->where);
    w->dir_synced = w->dir_synced || shared;
    if ((k->above != w->dir || !w->top_durable) && fs_sync_above(k->where) != 0)
        return err_set(e, ERR_TEMP, errno, "sync above %s", k->where);
    w->top_durable = w->top_durable || k->above == w->dir;
    k->durable = true;
    close_one(&k->self);
    return 0;
}

/* --- the mailboxes of the process ----------------------------------------- */

struct box *box_find(struct mailbox_work *w, const char *key)
{
    uint64_t hash = map_hash(key, strlen(key));
    struct box *k;

    for (struct map_link *l = map_first(&w->boxes, hash); l != NULL;
         l = map_next(l)) {
        k = MAP_ENTRY(l, struct box, by_key);
        if (strcmp(k->key, key) == 0) {
            list_remove(&k->recent);
            list_push(&w->recent, &k->recent);
            return k;
        }
    }
    k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->work = w;
    k->above = k->self = k->tmp = k->new = k->mbox = k->lock = -1;
    k->id = w->ids.now;
    list_init(&k->copies);
    snprintf(k->key, sizeof k->key, "%s", key);
    map_add(&w->boxes, &k->by_key, hash);
    list_push(&w->recent, &k->recent);
    w->nboxes++;
    return k;
}

void box_free(struct box *k)
{
    box_close(k);
    map_remove(&k->work->boxes, &k->by_key);
    list_remove(&k->recent);
    k->work->nboxes--;
    free(k->where);
    free(k);
}

void box_forget_some(struct mailbox_work *w)
{
    for (struct list *l = w->recent.next, *next;
         l != &w->recent && w->nboxes > w->most_boxes; l = next) {
        struct box *k = LIST_ENTRY(l, struct box, recent);
        next = l->next;
        if (list_empty(&k->copies))
            box_free(k);
    }
}
