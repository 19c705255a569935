/* recipient/local_files.h - the files that local_open() reads.
 *
 * For the supervisor, which takes a copy of each.  It uses the set that it
 * fills (handdown_use()), so that the copy of the alias file decides which
 * files that one includes.  Each call returns 0, or -1 with *e and ends it. */
#ifndef MTA_RECIPIENT_LOCAL_FILES_H
#define MTA_RECIPIENT_LOCAL_FILES_H

#include "base/err.h"

struct conf_local;

struct local_files {
    int (*file)(void *ctx, const char *path, struct err *e);
    int (*guarded)(void *ctx, const char *path, struct err *e); /* included */
    void *ctx;
};

int local_each_file(const struct conf_local *c, const struct local_files *f,
                    struct err *e);
#endif
