/* spool/wake_private.h - tell the sender that there is something new.
 *
 * For src/spool only.  A FIFO, `wake` in the queue's directory; one byte a
 * commit.  Every end is opened for reading and writing: so it opens at once
 * with or without the other, a sender that left raises no SIGPIPE, and no end
 * of file wakes the reader.  A byte that does not fit is no loss, the reader
 * has enough of them. */
#ifndef MTA_SPOOL_WAKE_PRIVATE_H
#define MTA_SPOOL_WAKE_PRIVATE_H

#include "base/err.h"

#include <stdbool.h>

/* Make it if it is missing.  The descriptor, or -1 with *e. */
int spool_wake_open(const char *dir, struct err *e);

/* new_file: the directory has an entry that it had not before. */
void spool_wake_send(int fd, bool new_file);

/* Empty it; true: look at the directory too. */
bool spool_wake_drain(int fd);
#endif
