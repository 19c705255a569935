/* deliver/mailboxes.h - mailbox processes: what each is given, and what becomes
 * of it when the process ends or hangs.  For src/deliver alone.
 *
 * A mailbox is always at the same process.  A process that stands still over
 * one copy is replaced, and its mailbox is patient from then on: it is at a
 * process of its own kind, where standing still holds up patient mailboxes
 * only, until a copy is delivered there. */
#ifndef MTA_DELIVER_MAILBOXES_H
#define MTA_DELIVER_MAILBOXES_H

#include "deliver/copy.h"

enum {
    /* Copies in flight for one mailbox; of an mbox, which may be locked, so
     * many wait for its lock at the most. */
    MAILBOXES_BOX_WINDOW = 128,
    MAILBOXES_MBOX_WINDOW = 32,
    /* At one copy, before its process is replaced; at a large one more. */
    MAILBOXES_STUCK_MS = 500,
    MAILBOXES_PATIENT_MS = 30 * 1000,
    MAILBOXES_SILENT_MS =
        32 * 1000 /* a locked mailbox is reported after 30 s */
};

int mailboxes_open(struct deliver *d, struct err *e);
void mailboxes_close(struct deliver *d); /* drops copies in flight */

/* Give the item's copy to the process of its mailbox, or, when that has enough,
 * keep the recipient in line for it. */
void mailboxes_offer(struct work *w, const struct work_item *i);

/* Before a turn: recipients in line are due where there is room. */
void mailboxes_let_in(struct deliver *d);

/* At the end of a turn, behind queue_flush(): send copies. */
void mailboxes_flush(struct deliver *d);

/* A process has come, by number and with our end of its line; takes fd. */
void mailboxes_connect(struct deliver *d, unsigned number, int fd);

/* Is a copy in flight, or does a recipient stand in line? */
bool mailboxes_are_busy(const struct deliver *d);
#endif
