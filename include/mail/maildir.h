/* mail/maildir.h - the steps of mail/box.h for Maildirs.  Private. */
#ifndef MTA_MAIL_MAILDIR_H
#define MTA_MAIL_MAILDIR_H

#include "mail/boxes.h"

int maildir_add(struct box_copy *c, const struct box_message *m, struct err *e);
void maildir_sync(struct box_copy *c);
void maildir_publish(struct box *k);
void maildir_abort(struct box_copy *c);
/* Where it is or will be; "" is not possible. */
void maildir_path(char out[BOX_PATH_MAX], const struct box_copy *c);

/* Files under tmp that nobody has touched for 36 hours are remains of a
 * crash. */
enum { MAILDIR_TMP_AGE = 36 * 3600 };
#endif
