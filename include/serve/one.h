/* serve/one.h - serve one session of a program of this host, without a server:
 * how `mta sendmail` puts mail into the queue when none runs. */
#ifndef MTA_SERVE_ONE_H
#define MTA_SERVE_ONE_H

#include "base/err.h"
#include "config/conf.h"

#include <sys/types.h>

/* Serve the client at fd, of that user, as the submission socket would, until
 * the session ends.  The queue must exist (spool_dirs_make()) and belong to
 * this process, which has one thread and ends soon.  Takes fd over.  0, or -1
 * with *e: no session began. */
int serve_one(const struct conf *c, int fd, uid_t user, struct err *e);
#endif
