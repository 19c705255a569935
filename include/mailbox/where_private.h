/* mailbox/where_private.h - the parts of mailbox/where.h.  For src/mailbox
 * alone. */
#ifndef MTA_MAILBOX_WHERE_PRIVATE_H
#define MTA_MAILBOX_WHERE_PRIVATE_H

#include "mailbox/identity_private.h"
#include "mailbox/where.h"

#include <sys/stat.h>

/* The user of the system whose mailbox it is; as identity_find().
 * as_root: identities are switched. */
int mailbox_owner(const struct conf_local *c, const char *key, bool as_root,
                  struct identity_user *u, struct err *e);

/* The part of local.mail_dir behind "~/"; NULL: it is not below a home. */
const char *mailbox_below_home(const struct conf_local *c);

/* mail_dir/USER, mail_dir/DOMAIN/USER for a user of one domain, or below the
 * home directory.  NULL: no memory. */
char *mailbox_path(const struct conf_local *c, const char *key,
                   const char *home);

/* What is there decides, else the setting.  st NULL: nothing is there.  The
 * fault of what is there, or NULL. */
const char *mailbox_form(const struct conf_local *c, const struct stat *st,
                         bool *is_mbox);
#endif
