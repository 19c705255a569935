/* recipient/resolve.h - resolve local addresses to mailboxes and remote
 * addresses.
 *
 * Local domains, users, aliases and the recipient delimiter, as one look-up.
 * Loaded once; a reload makes a new one.  Not for threads.  Rules:
 * docs/recipient.md. */
#ifndef MTA_RECIPIENT_RESOLVE_H
#define MTA_RECIPIENT_RESOLVE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct conf_local;
struct local;
struct user_asker;

enum {
    LOCAL_KEY_MAX = 64 + 1 + 255 + 1, /* of a mailbox, with its NUL */
    LOCAL_ADDRESS_MAX = 1024          /* quoted if it has to be, with NUL */
};

/* A bad line in the aliases or users file is an error naming file and line. */
int local_open(struct local **l, const struct conf_local *c, struct err *e);
void local_close(struct local **l); /* accepts NULL */

/* Ask for users of the system there from now on.  NULL (as at first): look-ups
 * block, for tools and tests; then only root sees all users, other callers see
 * their own. */
void local_use_asker(struct local *l, struct user_asker *a);

/* Without an asker: see all users, as a system does that root has started. */
void local_see_all(struct local *l);

/* Is this domain local?  "" is (bare postmaster); [address literals] of
 * loopback are; the caller decides about other literals. */
bool local_has_domain(const struct local *l, struct span domain);

enum local_verdict {
    LOCAL_OK,
    LOCAL_WAIT,       /* repeat the call when the asker has answered() */
    LOCAL_UNKNOWN,    /* no such user */
    LOCAL_LOOP,       /* an alias loop without other targets */
    LOCAL_TEMP,       /* look-up failed for now */
    LOCAL_STOPPED,    /* too many targets, or nested too deep */
    LOCAL_UNSUPPORTED /* an alias for a command or the like alone: mail waits */
};

/* In all of them: local_part is unquoted and of one of our domains; first the
 * whole of it counts, then what is in front of the delimiter; case does not
 * matter.  postmaster and mailer-daemon always exist. */

/* For RCPT: is there such an alias or user?  Expands nothing, but sees aliases
 * of one target each that lead back to it (LOCAL_LOOP); never blocks with an
 * asker.  key: of the mailbox, when no alias is in the way; else "". */
enum local_verdict local_check(const struct local *l, struct span local_part,
                               struct span domain, char key[LOCAL_KEY_MAX]);

/* Is there a user with that mailbox?  UNSUPPORTED: key is a LOCAL_COMMAND. */
enum local_verdict local_check_key(const struct local *l, const char *key);

enum local_kind {
    LOCAL_MAILBOX, /* name: its key, "joe" or "joe@example.com" */
    LOCAL_REMOTE,  /* name: the address */
    LOCAL_NO_USER, /* member of an alias; name: its address */
    LOCAL_DISCARD, /* /dev/null, and there is no other target */
    LOCAL_COMMAND  /* unsupported member; name: as written */
};
struct local_target {
    enum local_kind kind;
    const char *name;
};

/* Called once all targets are known, with at most local.max_targets.  Return
 * non-zero to stop. */
typedef int local_fn(void *ctx, const struct local_target *t);

/* The way to the targets, as addresses; "": none. */
struct local_path {
    char alias[LOCAL_ADDRESS_MAX]; /* the first alias */
    char owner[LOCAL_ADDRESS_MAX]; /* its owner-ALIAS, if there is such an alias
                                    * (or that of a list it only renames) */
};

/* For delivery: all targets, each once.  Calls fn only with LOCAL_OK.  A name
 * that an alias repeats for itself ("joe: joe, archive") is its mailbox.
 * LOCAL_UNKNOWN also of an alias all whose members are no users.  p may be
 * NULL. */
enum local_verdict local_resolve(const struct local *l, struct span local_part,
                                 struct span domain, local_fn *fn, void *ctx,
                                 struct local_path *p);

/* For `mta route`: each target of an alias is reported on the way, at its
 * depth, also those that lead nowhere.  NULL: no more. */
struct local_step {
    const char *alias, *target; /* as written */
    const char *file;           /* where the target stands */
    unsigned line, depth;       /* depth 0: the address's own alias */
};
typedef void local_step_fn(void *ctx, const struct local_step *s);
void local_trace(struct local *l, local_step_fn *fn, void *ctx);

/* Put local@domain, with quotes if it has to have them. */
void local_put_address(struct buf *b, struct span local, struct span domain);

/* Report members of aliases that lead to no mailbox, or are not supported.
 * Looks up every member; not for a worker. */
struct local_fault {
    const char *file, *alias, *member;
    unsigned line;
    const char *why; /* it is not supported; NULL: no such user */
};
typedef void local_fault_fn(void *ctx, const struct local_fault *f);
void local_check_members(const struct local *l, local_fault_fn *fn, void *ctx);
#endif
