/* spool/wake_private.h - wake the sender after a commit.
 *
 * For src/spool only.  A FIFO, `wake` in the queue's directory; one byte per
 * commit.  Both ends are opened for reading and writing: so each opens without
 * the other, a sender that ended causes no SIGPIPE, and no end of file wakes
 * the reader.  A byte that does not fit is not needed, because others are
 * unread. */
#ifndef MTA_SPOOL_WAKE_PRIVATE_H
#define MTA_SPOOL_WAKE_PRIVATE_H

#include "base/err.h"

#include <stdbool.h>

/* Make it if it is missing.  The descriptor, or -1 with *e. */
int spool_wake_open(const char *dir, struct err *e);

/* new_file: the directory has an entry that it had not before. */
void spool_wake_send(int fd, bool new_file);

/* Empty the FIFO; true: read the directory too. */
bool spool_wake_drain(int fd);
#endif
