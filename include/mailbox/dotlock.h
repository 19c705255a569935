/* mailbox/dotlock.h - FILE.lock, the lock that mail programs agree on.  For
 * src/mailbox alone.
 *
 * Its first line is the pid of its owner.  Ours has a second line, "mta",
 * and is held with flock() while the owner lives, so that a lock which
 * outlived a killed process is known at once, whatever became of the pid. */
#ifndef MTA_MAILBOX_DOTLOCK_H
#define MTA_MAILBOX_DOTLOCK_H

#include "base/err.h"

enum { DOTLOCK_STALE = 15 * 60 };

/* Never waits: a lock that is taken is ERR_TEMP.  Returns the descriptor
 * that dotlock_release() wants, or -1. */
int dotlock_take(const char *path, struct err *e);
void dotlock_release(const char *path, int fd);
#endif
