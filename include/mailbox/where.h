/* mailbox/where.h - where the mailbox of a key is, and of which form: the rules
 * by which a mailbox process finds it, for tools that only look. */
#ifndef MTA_MAILBOX_WHERE_H
#define MTA_MAILBOX_WHERE_H

#include "base/err.h"

#include <stdbool.h>

struct conf_local;

struct mailbox_where {
    char *path; /* owned by the caller */
    bool is_mbox, exists;
};

/* key: as local_resolve() has it.  as_root: the system was started by root,
 * and mailboxes are those of its users.  0; or -1 with *e and no path:
 * ERR_USAGE: there is no such user; ERR_PERM: the mailbox waits for a repair;
 * ERR_TEMP: not known now. */
int mailbox_where(struct mailbox_where *w, const struct conf_local *c,
                  const char *key, bool as_root, struct err *e);
#endif
