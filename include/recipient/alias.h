/* recipient/alias.h - the alias file.  Private to src/recipient.
 *
 *   name: target, target,        a line that begins with a blank goes on
 *       target
 *   "quoted name": ...           user@domain: ...     # a comment line
 *   name: :include:/path         the targets of that file, a line or more
 *   name: /dev/null              discarded
 *
 * Names compare without case.  A target is a local name or an address; with
 * a backslash in front it is not looked up again.  Files and commands are
 * refused with file and line, because mail for them would be lost; in a lenient
 * file they are targets of their own kind, as is a file that cannot be
 * included. */
#ifndef MTA_RECIPIENT_ALIAS_H
#define MTA_RECIPIENT_ALIAS_H

#include "base/err.h"
#include "base/map.h"
#include "base/span.h"

#include <stdbool.h>

enum alias_kind {
    ALIAS_NAME,
    ALIAS_FINAL, /* came with a backslash */
    ALIAS_DISCARD,
    ALIAS_UNSUPPORTED
};

struct alias_target {
    struct alias_target *next;
    const char *name; /* as written, unquoted */
    const char *why;  /* ALIAS_UNSUPPORTED: the reason */
    const char *file;
    unsigned line;
    enum alias_kind kind;
};

struct alias {
    struct map_link link;
    struct alias *next; /* in the file */
    const char *name;   /* local part, or local@domain, as written */
    struct alias_target *first, *last; /* NULL: it includes an empty file */
    unsigned line;
    unsigned visit; /* by alias_next_visit(); the expansion's */
    bool has_include;
};

struct alias_file;

/* INCLUDES: different files, of which the supervisor holds copies. */
enum { ALIAS_NAME_MAX = 320, ALIAS_INCLUDES_MAX = 48 };

/* path: lives as long as the file. */
int alias_load(struct alias_file **f, const char *path, bool lenient,
               struct err *e);
void alias_free(struct alias_file **f); /* accepts NULL */

/* The alias of a setting, in place of one that the file has: name leads to that
 * address alone.  *f may be NULL.  setting and name: live as long as the file.
 * For a few of them. */
int alias_set(struct alias_file **f, const char *setting, const char *name,
              const char *target, struct err *e);

/* The first of the file; NULL: none, also when f is. */
struct alias *alias_first(const struct alias_file *f);

/* f NULL: no aliases.  domain empty: the plain name. */
struct alias *alias_find(const struct alias_file *f, struct span local,
                         struct span domain);

/* A number that no alias of the file has been visited with. */
unsigned alias_next_visit(struct alias_file *f);

/* Every file that the alias file includes, which is not opened here.  The
 * result of fn, when that is not 0. */
typedef int alias_include_fn(void *ctx, const char *path, struct err *e);
int alias_each_include(const char *path, alias_include_fn *fn, void *ctx,
                       struct err *e);
#endif
