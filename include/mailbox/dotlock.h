/* mailbox/dotlock.h - FILE.lock, the lock that mail programs agree on.  For
 * src/mailbox alone.
 *
 * Its first line is the pid of its owner.  A lock of this program has a second
 * line, "mta", and is held with flock() while the owner lives, so that a lock
 * which outlived a killed process is recognised at once, even if its pid is in
 * use again. */
#ifndef MTA_MAILBOX_DOTLOCK_H
#define MTA_MAILBOX_DOTLOCK_H

#include "base/err.h"

enum { DOTLOCK_STALE = 15 * 60 };

/* path: from the directory `dir`, or AT_FDCWD.  Never waits: a lock that is
 * held is ERR_TEMP with sys EEXIST.  Returns the descriptor for
 * dotlock_release(), or -1. */
int dotlock_take(int dir, const char *path, struct err *e);
void dotlock_release(int dir, const char *path, int fd);
#endif
