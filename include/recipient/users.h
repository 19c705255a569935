/* recipient/users.h - the users that have a mailbox.  Private to src/recipient.
 *
 * passwd: the system's users, names in lower case.  any: every valid name.
 * file:PATH: a line is a user, in every local domain, or an address,
 * which has a mailbox of its own; comments begin with #. */
#ifndef MTA_RECIPIENT_USERS_H
#define MTA_RECIPIENT_USERS_H

#include "base/err.h"
#include "base/span.h"
#include "config/conf.h"
#include "recipient/resolve.h"
#include "recipient/user_asker.h"

#include <stdbool.h>

struct users;

int users_open(struct users **u, const struct conf_users *c, struct err *e);
void users_close(struct users **u); /* accepts NULL */
void users_use_asker(struct users *u, struct user_asker *a);
void users_see_all(struct users *u);

/* name: of a mailbox, in lower case; domain may be empty.  key: with USER_YES,
 * of the mailbox. */
enum user_found users_find(const struct users *u, const char *name,
                           struct span domain, char key[LOCAL_KEY_MAX]);

/* Has a user that mailbox? */
enum user_found users_find_key(const struct users *u, const char *key);

bool users_is_any(const struct users *u);

/* Copy the name in lower case, if it can be that of a mailbox without a
 * domain. */
enum { USER_NAME_MAX = 64 + 1 };
bool user_name(char out[USER_NAME_MAX], struct span name);
#endif
