/* mailbox/maildir.h - the steps of mailbox/batch.h for Maildirs.  For
 * src/mailbox alone. */
#ifndef MTA_MAILBOX_MAILDIR_H
#define MTA_MAILBOX_MAILDIR_H

#include "mailbox/mailbox_private.h"

int maildir_add(struct mailbox_copy *c, const struct mailbox_message *m,
                struct err *e);
void maildir_abort(struct mailbox_copy *c);

/* Steps 2 and 3 for the copies of a turn, with as few syncs as possible:
 * maildir_sync.c. */
void maildir_sync_batch(struct mailbox_batch *b);
void maildir_publish_batch(struct mailbox_batch *b);

/* Parts of these steps.  Sync and close one draft; the same for a draft that
 * was synced with others, or failed to be (e not NULL).  Rename synced drafts
 * into new.  Make the entries of new durable, or take the copies back. */
void maildir_sync(struct mailbox_copy *c);
void maildir_synced(struct mailbox_copy *c, const struct err *e);
void maildir_move(struct mailbox *k);
void maildir_take_back(struct mailbox *k, const struct err *e);
void maildir_settle(struct mailbox *k);

/* Files under tmp older than 36 hours are left over from a crash. */
enum { MAILDIR_TMP_AGE = 36 * 3600 };
#endif
