/* recipient/resolve.h - resolve local addresses to mailboxes and remote
 * addresses.
 *
 * Local domains, users, aliases and the recipient delimiter, as one look-up.
 * Loaded once; a reload makes a new one. */
#ifndef MTA_RECIPIENT_RESOLVE_H
#define MTA_RECIPIENT_RESOLVE_H

#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

struct conf_local;
struct local;

/* A bad line in the aliases or users file is an error naming file and line. */
int local_open(struct local **l, const struct conf_local *c, struct err *e);
void local_close(struct local **l); /* accepts NULL */

/* Is this domain local?  "" is (bare postmaster); [address literals] of
 * loopback are; the caller decides about other literals. */
bool local_has_domain(const struct local *l, struct span domain);

enum local_kind { LOCAL_MAILBOX, LOCAL_REMOTE };
struct local_target {
    enum local_kind kind;
    const char *name; /* mailbox name, or address local@domain */
};
/* Called once all targets are known.  Return non-zero to stop (no room). */
typedef int local_fn(void *ctx, const struct local_target *t);

enum local_verdict {
    LOCAL_OK,      /* at least one target was given to fn */
    LOCAL_WAIT,    /* not known yet; never of local_resolve() itself */
    LOCAL_UNKNOWN, /* no such user */
    LOCAL_LOOP,    /* an alias loop without other targets */
    LOCAL_TEMP,    /* look-up failed for now */
    LOCAL_STOPPED  /* fn asked to stop, or more than 1000 targets */
};

/* Resolve a local part (unquoted) of one of our domains: whole local part
 * first, then without the delimiter and what follows.  Case does not matter.
 * Aliases nest; each target is named once; a name that an alias list repeats
 * for itself ("joe: joe, archive") is its mailbox.  postmaster and
 * mailer-daemon always resolve: without alias or user they go to the mailbox
 * "postmaster". */
enum local_verdict local_resolve(const struct local *l, struct span local_part,
                                 struct span domain, local_fn *fn, void *ctx);

/* Report members of aliases that are local and lead to no mailbox, so that mail
 * for them would bounce.  Looks up every member; not for a worker. */
typedef void local_unknown_fn(void *ctx, unsigned line, const char *alias,
                              const char *member);
void local_check_members(const struct local *l, local_unknown_fn *fn,
                         void *ctx);
#endif
