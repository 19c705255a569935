#include "mailbox/where_private.h"

#include "config/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mailbox_owner(const struct conf_local *c, const char *key, bool as_root,
                  struct identity_user *u, struct err *e)
{
    int rc = identity_find(key, u, e);

    if (rc == 0 && strcmp(key, "postmaster") == 0)
        rc = as_root ? identity_find(c->user, u, e) : identity_own(u);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(e, ERR_USAGE, 0, "no such user: %s", key);
    if (u->id.uid == 0 && strcmp(key, "root") != 0 && as_root)
        return err_set(e, ERR_PERM, 0, "%s has uid 0 and is not root", key);
    return 0;
}

const char *mailbox_below_home(const struct conf_local *c)
{
    return strncmp(c->mail_dir, "~/", 2) == 0 ? c->mail_dir + 2 : NULL;
}

char *mailbox_path(const struct conf_local *c, const char *key,
                   const char *home)
{
    const char *below = mailbox_below_home(c), *at = strrchr(key, '@');
    size_t size = strlen(c->mail_dir) + strlen(home) + strlen(key) + 4;
    char *path = malloc(size);

    if (path == NULL)
        return NULL;
    if (below != NULL)
        snprintf(path, size, "%s/%s", home, below);
    else if (c->users.source == CONF_USERS_FILE && at != NULL)
        snprintf(path, size, "%s/%s/%.*s", c->mail_dir, at + 1, (int)(at - key),
                 key);
    else
        snprintf(path, size, "%s/%s", c->mail_dir, key);
    return path;
}

const char *mailbox_form(const struct conf_local *c, const struct stat *st,
                         bool *is_mbox)
{
    *is_mbox = st != NULL ? S_ISREG(st->st_mode) : c->mailbox == CONF_MBOX;
    if (st == NULL)
        return NULL;
    if (S_ISLNK(st->st_mode))
        return "is a link";
    if (!S_ISDIR(st->st_mode) && (!*is_mbox || c->mailbox == CONF_MAILDIR))
        return "is not a directory";
    return S_ISDIR(st->st_mode) && c->mailbox == CONF_MBOX ? "is not a file"
                                                           : NULL;
}

int mailbox_where(struct mailbox_where *w, const struct conf_local *c,
                  const char *key, bool as_root, struct err *e)
{
    struct identity_user u = { .home = "" };
    struct stat st;

    w->path = NULL;
    if (c->users.source == CONF_USERS_PASSWD &&
        mailbox_owner(c, key, as_root, &u, e) != 0)
        return -1;
    w->path = mailbox_path(c, key, u.home);
    if (w->path == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for mailbox %s", key);
    w->exists = lstat(w->path, &st) == 0;
    const char *fault = NULL;
    if (!w->exists && errno != ENOENT)
        err_set(e, ERR_TEMP, errno, "look at %s", w->path);
    else if ((fault = mailbox_form(c, w->exists ? &st : NULL, &w->is_mbox)) !=
             NULL)
        err_set(e, ERR_PERM, 0, "%s %s", w->path, fault);
    else
        return 0;
    free(w->path);
    w->path = NULL;
    return -1;
}
