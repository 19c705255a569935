/* mailbox/mbox.h - the steps of mailbox/batch.h for mbox files (RFC 4155,
 * quoted as in mboxrd).  For src/mailbox alone.
 *
 * mbox_add() only notes the copies of a turn, under both locks, and mbox_sync()
 * appends them, so that taking one back before costs nothing. */
#ifndef MTA_MAILBOX_MBOX_H
#define MTA_MAILBOX_MBOX_H

#include "mailbox/mailbox_private.h"

int mbox_add(struct mailbox_copy *c, const struct mailbox_message *m,
             struct err *e);
void mbox_sync(struct mailbox *k);
/* Takes back what was aborted since, then unlocks. */
void mbox_publish(struct mailbox *k);
#endif
