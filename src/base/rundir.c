#include "base/rundir.h"

#include "base/fs.h"
#include "base/os.h"
#include "base/span.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOP_MODE = 0711, BELOW_MODE = 0700, ABOVE_MODE = 0755 };

/* --- what is there already ------------------------------------------------ */

struct user_text {
    char text[64];
};

static const char *user_name(struct user_text *t, uid_t uid)
{
    const struct passwd *pw = getpwuid(uid);

    if (pw != NULL)
        snprintf(t->text, sizeof t->text, "%s", pw->pw_name);
    else
        snprintf(t->text, sizeof t->text, "%lu", (unsigned long)uid);
    return t->text;
}

static int refuse_owner(const char *path, uid_t is, uid_t want, struct err *e)
{
    struct user_text a, b;

    user_name(&a, is);
    user_name(&b, want);
    return err_set(e, ERR_PERM, 0, "%s belongs to %s, not to %s: chown %s %s",
                   path, a.text, b.text, b.text, path);
}

static int refuse_mode(const char *path, mode_t mode, struct err *e)
{
    return err_set(e, ERR_PERM, 0,
                   "%s can be written to by others (mode %04o): chmod go-w %s",
                   path, (unsigned)mode & 07777u, path);
}

static bool is_our_group(gid_t gid)
{
    gid_t groups[256];
    int n = getgroups((int)(sizeof groups / sizeof groups[0]), groups);

    for (int i = 0; i < n; i++)
        if (groups[i] == gid)
            return true;
    return gid == getegid();
}

/* The volume of a container: made by root for a group that we are in. */
static bool is_volume(int fd)
{
    struct stat st;

    return geteuid() != 0 && fstat(fd, &st) == 0 && st.st_uid == 0 &&
           (st.st_mode & (S_IWGRP | S_IWOTH)) == S_IWGRP &&
           is_our_group(st.st_gid);
}

/* Made by us in such a volume. */
static bool is_in_volume(int fd)
{
    struct stat st;
    int above = fs_openat(fd, "..", O_PATH | O_DIRECTORY, 0);
    bool is = above >= 0 && is_volume(above) && fstat(fd, &st) == 0 &&
              st.st_uid == geteuid();

    if (above >= 0)
        fs_close(above);
    return is;
}

/* Another process of root may have made it just now and be about to give it
 * away: then it will be right in a moment. */
static int look(int fd, struct stat *st, uid_t want)
{
    uint64_t until = 0;
    int rc;

    do
        rc = fstat(fd, st);
    while (rc == 0 && st->st_uid != want && st->st_uid == geteuid() &&
           os_again(&until));
    return rc;
}

static int check_dir(struct rundir *d, struct err *e)
{
    struct stat st;

    if (look(d->fd, &st, d->uid) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", d->path);
    if (d->any_owner) {
        d->uid = st.st_uid;
        d->gid = st.st_gid;
    }
    if (st.st_uid != d->uid)
        return refuse_owner(d->path, st.st_uid, d->uid, e);
    if ((st.st_mode & S_IWOTH) != 0 ||
        ((st.st_mode & S_IWGRP) != 0 && !d->volume))
        return refuse_mode(d->path, st.st_mode, e);
    return 0;
}

/* An orchestrator gives all of a volume to its group again before each start
 * (fsGroup of Kubernetes): what we have made there is taken back. */
static int take_back(const struct rundir *d, mode_t mode, struct err *e)
{
    struct stat st;

    if (!d->volume || d->look || fstat(d->fd, &st) != 0 ||
        (st.st_mode & S_IWGRP) == 0 || fchmod(d->fd, mode) == 0)
        return 0;
    return err_set(e, ERR_PERM, errno, "set the mode of %s", d->path);
}

/* --- what was made just now ----------------------------------------------- */

static bool is_empty(int fd)
{
    int copy = fs_openat(fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    bool empty = dir != NULL;

    for (const struct dirent *f; empty && (f = readdir(dir)) != NULL;)
        empty = strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0;
    if (dir != NULL)
        closedir(dir);
    else if (copy >= 0)
        fs_close(copy);
    return empty;
}

/* Between its making and its opening, the owner of the directory above may
 * have put another in its place: one that is not ours, or not empty, is not
 * given to another user. */
static int give_dir(struct rundir *d, mode_t mode, struct err *e)
{
    struct stat st;

    if (fstat(d->fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", d->path);
    bool other_user = st.st_uid != d->uid;
    bool other_group = d->gid != (gid_t)-1 && st.st_gid != d->gid;
    if (st.st_uid != geteuid() || (other_user && !is_empty(d->fd)))
        return err_set(e, ERR_PERM, 0, "%s was replaced while it was made",
                       d->path);
    if (fchmod(d->fd, mode) != 0)
        return err_set(e, ERR_TEMP, errno, "set the mode of %s", d->path);
    if ((other_user || other_group) && fchown(d->fd, d->uid, d->gid) != 0)
        return err_set(e, ERR_PERM, errno, "give %s to its user", d->path);
    return 0;
}

/* --- from the root to the top --------------------------------------------- */

/* A link is opened by its content, which was read from the descriptor that
 * was checked: by name, it could be another one by now.  `fd` is closed or
 * returned. */
static int follow(int above, int fd, const char *path, struct err *e)
{
    char target[PATH_MAX];
    struct user_text t;
    struct stat st;
    ssize_t n = 0;
    int to = -1;

    if (fstat(fd, &st) != 0) {
        err_set(e, ERR_TEMP, errno, "look at %s", path);
        goto out;
    }
    if (S_ISDIR(st.st_mode))
        return fd;
    if (!S_ISLNK(st.st_mode))
        err_set(e, ERR_PERM, ENOTDIR, "%s", path);
    else if (st.st_uid != 0 && st.st_uid != geteuid())
        err_set(e, ERR_PERM, 0, "%s: link of %s on the way is not followed",
                path, user_name(&t, st.st_uid));
    else if ((n = readlinkat(fd, "", target, sizeof target - 1)) < 0)
        err_set(e, ERR_TEMP, errno, "read link %s", path);
    else {
        target[n] = '\0';
        to = fs_openat(above, target, O_PATH | O_DIRECTORY, 0);
        if (to < 0)
            err_set(e, ERR_TEMP, errno, "follow link %s to %s", path, target);
    }
out:
    fs_close(fd);
    return to;
}

/* One directory down.  mode 0: it must be there. */
static int step(int above, const char *name, mode_t mode, bool *made,
                struct err *e, const char *path)
{
    int fd = fs_openat(above, name, O_PATH | O_NOFOLLOW, 0);

    if (fd < 0 && errno == ENOENT && mode != 0) {
        *made = fs_mkdirat(above, name, mode) == 0;
        if (*made || errno == EEXIST)
            fd = fs_openat(above, name, O_PATH | O_NOFOLLOW, 0);
    }
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "%s directory %s",
                       mode != 0 ? "make" : "open", path);
    return follow(above, fd, path, e);
}

/* Along d->path; d->fd is then only good to open from. */
static int walk(struct rundir *d, bool make, bool *made, struct err *e)
{
    char name[NAME_MAX + 1];
    const char *at = d->path;

    d->fd =
        fs_openat(AT_FDCWD, *at == '/' ? "/" : ".", O_PATH | O_DIRECTORY, 0);
    if (d->fd < 0)
        return err_set(e, ERR_TEMP, errno, "open directory %s", d->path);
    while (*(at += strspn(at, "/")) != '\0') {
        struct span part = { at, strcspn(at, "/") };
        at += part.n;
        bool last = at[strspn(at, "/")] == '\0';
        mode_t mode = last ? TOP_MODE : ABOVE_MODE;
        if (!span_copy(name, sizeof name, part))
            return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", d->path);
        int next = step(d->fd, name, make ? mode : 0, made, e, d->path);
        if (next < 0)
            return -1;
        fs_close(d->fd);
        d->fd = next;
    }
    return 0;
}

/* The same directory, to be read and synced. */
static int reopen(struct rundir *d, struct err *e)
{
    int fd = fs_openat(d->fd, ".", O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open directory %s", d->path);
    fs_close(d->fd);
    d->fd = fd;
    return 0;
}

static int look_at_top(struct rundir *d, struct err *e)
{
    d->volume = is_volume(d->fd);
    if (d->volume)
        return 0;
    d->volume = is_in_volume(d->fd);
    return check_dir(d, e) == 0 && take_back(d, TOP_MODE, e) == 0 ? 0 : -1;
}

static int open_top(struct rundir *d, bool make, struct err *e)
{
    bool made = false;
    int rc = -1;

    if (walk(d, make, &made, e) == 0 && reopen(d, e) == 0) {
        if (made)
            rc = give_dir(d, TOP_MODE, e);
        else
            rc = look_at_top(d, e);
    }
    if (rc != 0)
        rundir_close(d);
    return rc;
}

static int name_top(struct rundir *d, const char *path, struct err *e)
{
    *d = (struct rundir)RUNDIR_NONE;
    if (*path == '\0')
        return err_set(e, ERR_USAGE, ENOENT, "directory without a name");
    if (!span_copy(d->path, sizeof d->path, span_of(path)))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", path);
    return 0;
}

int rundir_make(struct rundir *d, const char *path, uid_t uid, gid_t gid,
                struct err *e)
{
    if (name_top(d, path, e) != 0)
        return -1;
    d->uid = uid == (uid_t)-1 ? geteuid() : uid;
    d->gid = gid;
    return open_top(d, true, e);
}

int rundir_open(struct rundir *d, const char *path, struct err *e)
{
    if (name_top(d, path, e) != 0)
        return -1;
    d->uid = geteuid();
    d->gid = (gid_t)-1;
    d->any_owner = d->uid == 0;
    return open_top(d, false, e);
}

int rundir_look(struct rundir *d, const char *path, uid_t uid, gid_t gid,
                struct err *e)
{
    bool made = false;
    struct err why;

    if (name_top(d, path, e) != 0)
        return -1;
    d->uid = uid == (uid_t)-1 ? geteuid() : uid;
    d->gid = gid;
    d->look = true;
    if (walk(d, false, &made, &why) == 0) {
        if (look_at_top(d, e) == 0)
            return 0;
        rundir_close(d);
        return -1;
    }
    rundir_close(d);
    if (why.sys == ENOENT)
        return 0;
    if (e != NULL)
        *e = why;
    return -1;
}

int rundir_nearest(const char *path, struct err *e)
{
    struct rundir d;
    bool made = false;
    struct err why;

    if (name_top(&d, path, e) != 0)
        return -1;
    if (walk(&d, false, &made, &why) == 0 || why.sys == ENOENT)
        return d.fd;
    if (e != NULL)
        *e = why;
    rundir_close(&d);
    return -1;
}

/* --- below ---------------------------------------------------------------- */

static int name_below(char out[PATH_MAX], const struct rundir *above,
                      const char *name, struct err *e)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", above->path, name);

    if (n < 0 || n >= PATH_MAX)
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", above->path);
    return 0;
}

static int refuse_type(const char *path, struct err *e)
{
    return err_set(e, ERR_PERM, 0,
                   "%s is a link or no directory: remove it, none is followed "
                   "there",
                   path);
}

int rundir_below(struct rundir *d, const struct rundir *above, const char *name,
                 struct err *e)
{
    const int flags =
        (above->look ? O_PATH : O_RDONLY) | O_DIRECTORY | O_NOFOLLOW;
    bool made = false;

    *d = (struct rundir){ .fd = -1,
                          .uid = above->uid,
                          .gid = above->gid,
                          .any_owner = above->any_owner,
                          .volume = above->volume,
                          .look = above->look };
    if (name_below(d->path, above, name, e) != 0)
        return -1;
    d->fd = fs_openat(above->fd, name, flags, 0);
    if (d->fd < 0 && errno == ENOENT && d->look)
        return 0;
    if (d->fd < 0 && errno == ENOENT) {
        made = fs_mkdirat(above->fd, name, BELOW_MODE) == 0;
        if (made || errno == EEXIST)
            d->fd = fs_openat(above->fd, name, flags, 0);
    }
    if (d->fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return refuse_type(d->path, e);
    if (d->fd < 0)
        return err_set(e, ERR_TEMP, errno, "make directory %s", d->path);
    if ((made ? give_dir(d, BELOW_MODE, e) : check_dir(d, e)) == 0 &&
        take_back(d, BELOW_MODE, e) == 0)
        return 0;
    struct stat st; /* what is ours still would be refused from now on */
    if (made && fstat(d->fd, &st) == 0 && st.st_uid == geteuid())
        unlinkat(above->fd, name, AT_REMOVEDIR);
    rundir_close(d);
    return -1;
}

static int check_file(int fd, const struct rundir *d, const char *path,
                      struct err *e)
{
    struct stat st;

    if (look(fd, &st, d->uid) != 0)
        return err_set(e, ERR_TEMP, errno, "look at %s", path);
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
        return err_set(e, ERR_PERM, 0, "%s is no file of its own: remove it",
                       path);
    if (st.st_uid != d->uid)
        return refuse_owner(path, st.st_uid, d->uid, e);
    return 0;
}

static int give_file(int fd, const struct rundir *d, const char *path,
                     struct err *e)
{
    if (d->uid != geteuid() && fchown(fd, d->uid, d->gid) != 0)
        return err_set(e, ERR_PERM, errno, "give %s to its user", path);
    return 0;
}

int rundir_file(const struct rundir *d, const char *name, struct err *e)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
    char path[PATH_MAX];
    bool made = false;

    if (name_below(path, d, name, e) != 0)
        return -1;
    int fd = fs_openat(d->fd, name, flags, 0);
    if (fd < 0 && errno == ENOENT) {
        fd = fs_openat(d->fd, name, flags | O_CREAT | O_EXCL, 0600);
        made = fd >= 0;
        if (fd < 0 && errno == EEXIST) /* another process was faster */
            fd = fs_openat(d->fd, name, flags, 0);
    }
    if (fd < 0)
        return err_set(e, errno == ELOOP ? ERR_PERM : ERR_TEMP, errno,
                       "open %s", path);
    if ((made ? give_file(fd, d, path, e) : check_file(fd, d, path, e)) == 0)
        return fd;
    if (made)
        unlinkat(d->fd, name, 0);
    fs_close(fd);
    return -1;
}

void rundir_close(struct rundir *d)
{
    if (d->fd >= 0)
        fs_close(d->fd);
    d->fd = -1;
}
