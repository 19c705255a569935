/* mailbox/identity_private.h - the user as which a mailbox is written.  For
 * src/mailbox alone.
 *
 * A process that root started, with local.users = passwd, takes the effective
 * ids and the groups of a user for the work in that user's mailbox, and is root
 * in between; a mailbox in a directory that a user may change can then lead
 * nowhere that this user could not write.  Else all is done as one user. */
#ifndef MTA_MAILBOX_IDENTITY_PRIVATE_H
#define MTA_MAILBOX_IDENTITY_PRIVATE_H

#include "base/err.h"

#include <limits.h>
#include <sys/types.h>

struct identity {
    uid_t uid;
    gid_t gid;
};

struct identities {
    bool switches;       /* root, and takes the identity of each user */
    bool lost;           /* root cannot be regained: the process must end */
    gid_t also;          /* a group that every user gets; (gid_t)-1: none */
    struct identity now; /* what is in force, if switches; uid 0: root */
};

struct identity_user {
    struct identity id;
    char home[PATH_MAX];
};

/* By the system's user database: 1: found; 0: no such user; -1 with *e: it
 * cannot be asked now. */
int identity_find(const char *name, struct identity_user *u, struct err *e);

/* The user of this process; without a home where the system does not know that
 * user.  Returns 1. */
int identity_own(struct identity_user *u);

/* Tests put another database in its place; NULL: the system's again. */
typedef int identity_find_fn(const char *name, struct identity_user *u,
                             struct err *e);
void identity_replace(identity_find_fn *fn);

/* Be that user until the next call.  On failure no file may be touched. */
int identity_take(struct identities *s, const struct identity *id,
                  struct err *e);
/* Be root again, where identities are taken. */
int identity_root(struct identities *s, struct err *e);

/* Become user and group for good, with the group `also` if it is not -1. */
int identity_drop(const char *user, const char *group, gid_t also,
                  struct err *e);
#endif
