/* mail/mbox.h - the steps of mail/box.h for mbox files (RFC 4155, quoted as
 * in mboxrd).  Private.
 *
 * The copies of a turn are only noted by mbox_add(), under both locks, and
 * appended by mbox_sync(): so taking one back before costs nothing. */
#ifndef MTA_MAIL_MBOX_H
#define MTA_MAIL_MBOX_H

#include "mail/boxes.h"

int mbox_add(struct box_copy *c, const struct box_message *m, struct err *e);
void mbox_sync(struct box *k);
/* Takes back what was aborted since, then unlocks. */
void mbox_publish(struct box *k);
#endif
