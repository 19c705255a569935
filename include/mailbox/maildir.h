/* mailbox/maildir.h - the steps of mailbox/batch.h for Maildirs.  Private. */
#ifndef MTA_MAILBOX_MAILDIR_H
#define MTA_MAILBOX_MAILDIR_H

#include "mailbox/mailbox_private.h"

int maildir_add(struct mailbox_copy *c, const struct mailbox_message *m,
                struct err *e);
void maildir_abort(struct mailbox_copy *c);

/* Steps 2 and 3 for the copies of a turn, with as few syncs as it takes:
 * maildir_turn.c. */
void maildir_sync_batch(struct mailbox_batch *b);
void maildir_publish_batch(struct mailbox_batch *b);

/* Their pieces.  Sync and close one draft; the same for one that was synced
 * with others, or failed to be (e not NULL).  Rename what is synced into new.
 * Make the entries of that durable, or take it back. */
void maildir_sync(struct mailbox_copy *c);
void maildir_synced(struct mailbox_copy *c, const struct err *e);
void maildir_move(struct mailbox *k);
void maildir_take_back(struct mailbox *k, const struct err *e);
void maildir_settle(struct mailbox *k);

/* Where it is or will be; "" is not possible. */
void maildir_path(char out[MAILBOX_PATH_MAX], const struct mailbox_copy *c);

/* Files under tmp that nobody has touched for 36 hours are remains of a
 * crash. */
enum { MAILDIR_TMP_AGE = 36 * 3600 };
#endif
