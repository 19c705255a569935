#include "mailbox/identity_private.h"

#include "base/os.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- look-up -------------------------------------------------------------- */

/* What getpwnam() leaves in errno for a name that it did not find. */
static bool means_unknown(int why)
{
    return why == 0 || why == ENOENT || why == ESRCH || why == EBADF ||
           why == EPERM;
}

/* 1, 0, or -1 with errno. */
static int look_up(const char *name, struct identity_user *u)
{
    errno = 0;
    const struct passwd *pw = getpwnam(name);

    if (pw == NULL)
        return means_unknown(errno) ? 0 : -1;
    u->id = (struct identity){ pw->pw_uid, pw->pw_gid };
    snprintf(u->home, sizeof u->home, "%s", pw->pw_dir);
    return 1;
}

/* The C library reports "no such user" too when it lacks descriptors or memory:
 * the second answer counts, after root was found. */
static int find_in_system(const char *name, struct identity_user *u,
                          struct err *e)
{
    struct identity_user root;
    int rc = look_up(name, u);

    if (rc == 0 && !os_has_no_users()) {
        rc = look_up("root", &root);
        if (rc == 0)
            errno = EIO;
        rc = rc <= 0 ? -1 : look_up(name, u);
    }
    return rc < 0 ? err_set(e, ERR_TEMP, errno, "look up user %s", name) : rc;
}

static identity_find_fn *find = find_in_system;

void identity_replace(identity_find_fn *fn)
{
    find = fn == NULL ? find_in_system : fn;
}

int identity_find(const char *name, struct identity_user *u, struct err *e)
{
    return find(name, u, e);
}

int identity_own(struct identity_user *u)
{
    const struct passwd *pw = getpwuid(geteuid());

    u->id = (struct identity){ geteuid(), getegid() };
    snprintf(u->home, sizeof u->home, "%s", pw != NULL ? pw->pw_dir : "");
    return 1;
}

/* --- taking it ------------------------------------------------------------ */

int identity_root(struct identities *s, struct err *e)
{
    if (!s->switches || s->now.uid == 0)
        return 0;
    if (seteuid(0) != 0) {
        s->lost = true;
        return err_set(e, ERR_BUG, errno, "become root again");
    }
    s->now.uid = 0;
    return 0;
}

/* Groups first: only root may change them. */
int identity_take(struct identities *s, const struct identity *id,
                  struct err *e)
{
    gid_t groups[] = { id->gid, s->also };

    if (!s->switches || (s->now.uid == id->uid && s->now.gid == id->gid))
        return 0;
    if (identity_root(s, e) != 0)
        return -1;
    if (s->now.gid != id->gid) {
        s->now.gid = (gid_t)-1; /* until both have worked */
        if (setgroups(s->also == (gid_t)-1 ? 1 : 2, groups) != 0 ||
            setegid(id->gid) != 0)
            return err_set(e, ERR_TEMP, errno, "take the groups of uid %ld",
                           (long)id->uid);
        s->now.gid = id->gid;
    }
    if (id->uid != 0 && seteuid(id->uid) != 0)
        return err_set(e, ERR_TEMP, errno, "take the identity of uid %ld",
                       (long)id->uid);
    s->now.uid = id->uid;
    return 0;
}

int identity_drop(const char *user, const char *group, gid_t also,
                  struct err *e)
{
    struct identity id;

    if (geteuid() != 0 || *user == '\0')
        return 0;
    if (os_find_ids(user, group, &id.uid, &id.gid, e) != 0)
        return -1;
    gid_t groups[] = { id.gid, also };
    if (setgroups(also == (gid_t)-1 ? 1 : 2, groups) != 0 ||
        setgid(id.gid) != 0 || setuid(id.uid) != 0)
        return err_set(e, ERR_PERM, errno, "become user %s", user);
    if (id.uid != 0 && setuid(0) == 0)
        return err_set(e, ERR_BUG, 0, "root came back after leaving it");
    return 0;
}
