/* mailbox/batch.h - put copies into Maildirs and mbox files, many at a time.
 *
 * A batch collects the copies of one turn and takes them through the steps
 * of docs/delivery.md together:
 *   box_add()      write under tmp (Maildir) or lock and note down (mbox)
 *   box_sync()     make the bytes durable; an mbox is appended to here
 *   box_publish()  rename into new, sync directories once each; unlock
 * A copy that failed a step says so and has left no trace; the others go on.
 * Before box_publish() any copy can be taken back with box_abort().  Never
 * waits for a lock: a busy mbox is a temporary failure.  Not for threads. */
#ifndef MTA_MAILBOX_BATCH_H
#define MTA_MAILBOX_BATCH_H

#include "base/body.h"
#include "base/err.h"
#include "base/span.h"

struct box_batch;
struct box_copy; /* lives until box_reset() */

enum box_kind { BOX_MAILDIR, BOX_MBOX };

struct box_options {
    const char *mail_dir;
    enum box_kind kind;
    const char *hostname; /* for Maildir names */
    size_t max_copies;    /* per turn */
};

int box_batch_new(struct box_batch **b, const struct box_options *o,
                  struct err *e);
void box_batch_free(struct box_batch **b); /* aborts what is open */

struct box_message {
    const char *user;         /* mailbox name: a safe file name */
    struct span reverse_path; /* Return-Path */
    struct span delivered_to; /* the address it was accepted for */
    struct body body;         /* wire form; stored with LF line ends; the bytes
                                 must stay until publish or abort */
};

/* Step 1.  NULL with *e on failure (ERR_TEMP: later may work; ERR_PERM: the
 * name is unsafe or the mailbox is not one).  Missing mailboxes are made. */
struct box_copy *box_add(struct box_batch *b, const struct box_message *m,
                         struct err *e);
void box_sync(struct box_batch *b);    /* step 2, for all */
void box_publish(struct box_batch *b); /* step 3, for all */
void box_abort(struct box_copy *c);    /* before step 3; NULL is accepted */

/* Did the steps so far succeed for this copy?  0, or -1 with *e. */
int box_status(const struct box_copy *c, struct err *e);
/* For the log; good until the next call with a copy of the same batch. */
const char *box_path(const struct box_copy *c);

void box_reset(struct box_batch *b); /* forget all copies; next turn */
size_t box_count(const struct box_batch *b);

/* Can this be the name of a mailbox?  No "/", no leading dot, no control
 * characters, 1 .. 64 octets. */
bool box_name_valid(struct span user);
#endif
