/* spool/recover_private.h - bring a segment without a writer into order.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_RECOVER_PRIVATE_H
#define MTA_SPOOL_RECOVER_PRIVATE_H

#include "spool/segment_private.h"

/* No process writes to the open segment (f->h.closed is not set): find what
 * is whole, drop what is torn, close it.  f->fd must hold LOCK_EX. */
int spool_recover(struct spool_file *f, struct err *e);
#endif
