/* spool/submit.h - put a whole message into a queue.
 *
 * For every message that exists already: the server's at the dot, notices,
 * copies of a message in a queue.  (A large message that still arrives goes
 * through spool/large.h.) */
#ifndef MTA_SPOOL_SUBMIT_H
#define MTA_SPOOL_SUBMIT_H

#include "spool/writer.h"

enum { SPOOL_SMALL_MAX = 256 * 1024 };

/* Add m with that body to w's turn.  Nothing is promised yet: readers cannot
 * see it and a crash forgets it.  Chains must stay, unchanged, until the
 * commit, and body->crc must be that of a body in memory.  A body in a file
 * is copied now, its front fields too: into memory, or beyond SPOOL_SMALL_MAX
 * octets into a segment of its own; ERR_PERM: it is damaged.  A turn takes
 * SPOOL_TURN_MAX messages, then it is ERR_TEMP. */
int spool_submit(struct spool_writer *w, const struct spool_submission *m,
                 const struct body *body, struct err *e);
#endif
