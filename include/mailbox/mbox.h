/* mailbox/mbox.h - the steps of mailbox/batch.h for mbox files (RFC 4155,
 * quoted as in mboxrd).  For src/mailbox alone.
 *
 * The copies of a turn are only noted by mbox_add(), under both locks, and
 * appended by mbox_sync(): so taking one back before costs nothing. */
#ifndef MTA_MAILBOX_MBOX_H
#define MTA_MAILBOX_MBOX_H

#include "mailbox/mailbox_private.h"

int mbox_add(struct mailbox_copy *c, const struct mailbox_message *m,
             struct err *e);
void mbox_sync(struct mailbox *k);
/* Takes back what was aborted since, then unlocks. */
void mbox_publish(struct mailbox *k);
#endif
