/* recipient/alias.h - the alias file.  Private to recipient/resolve.h.
 *
 *   name: target, target,        a line that begins with a blank goes on
 *       target
 *   "quoted name": ...           user@domain: ...     # a comment line
 *
 * Names compare without case.  A target is a local name or an address; with
 * a backslash in front it is not looked up again.  Files, commands and
 * :include: are refused, with file and line: mail for them would be lost. */
#ifndef MTA_RECIPIENT_ALIAS_H
#define MTA_RECIPIENT_ALIAS_H

#include "base/err.h"
#include "base/map.h"
#include "base/span.h"

#include <stdbool.h>

struct alias_target {
    struct alias_target *next;
    const char *name; /* as written, unquoted */
    bool final;       /* came with a backslash */
};

struct alias {
    struct map_link link;
    const struct alias *next; /* in the file */
    const char *name;         /* local part, or local@domain, as written */
    struct alias_target *first, *last;
    unsigned line;
};

struct alias_file;

enum {
    ALIAS_NAME_MAX = 320,
    ALIAS_TARGETS_MAX = 1000 /* one expansion, nested ones included */
};

int alias_load(struct alias_file **f, const char *path, struct err *e);
void alias_free(struct alias_file **f); /* accepts NULL */

/* The first of the file; NULL: none, also when f is. */
const struct alias *alias_first(const struct alias_file *f);

/* f NULL: no aliases.  domain empty: the plain name. */
const struct alias *alias_find(const struct alias_file *f, struct span local,
                               struct span domain);
#endif
