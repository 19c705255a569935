/* recipient/users.h - the users that have a mailbox.  Private to
 * recipient/resolve.h.
 *
 * passwd: the system's users, names in lower case.  any: every valid name.
 * file:PATH: one user or address (user@domain: in that domain alone) per line;
 * comments begin with #. */
#ifndef MTA_RECIPIENT_USERS_H
#define MTA_RECIPIENT_USERS_H

#include "base/err.h"
#include "base/span.h"
#include "config/conf.h"
#include "recipient/user_asker.h"

#include <stdbool.h>

struct users;

int users_open(struct users **u, const struct conf_users *c, struct err *e);
void users_close(struct users **u); /* accepts NULL */

/* name: lower case, valid as a mailbox; domain may be empty. */
enum user_found users_find(const struct users *u, const char *name,
                           struct span domain);
bool users_is_any(const struct users *u);
#endif
