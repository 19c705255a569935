/* mailbox/batch.h - deliver copies into Maildirs and mbox files, many at a
 * time.
 *
 * A batch takes its copies through the steps of docs/delivery.md together:
 * mailbox_add() writes under tmp (Maildir) or locks (mbox); mailbox_sync()
 * makes the bytes durable (an mbox is appended to here); mailbox_publish()
 * renames into new, syncs each directory once, unlocks.  A copy that fails a
 * step reports it and leaves no trace; the others go on.  Before
 * mailbox_publish() mailbox_abort() takes any copy back.  Never waits for a
 * lock: a busy mbox is a temporary failure.  Not for threads. */
#ifndef MTA_MAILBOX_BATCH_H
#define MTA_MAILBOX_BATCH_H

#include "base/body.h"
#include "base/err.h"
#include "base/span.h"
#include "mailbox/request.h"

struct conf;
struct mailbox_batch;
struct mailbox_copy; /* lives until mailbox_reset() */

enum mailbox_kind { MAILBOX_MAILDIR, MAILBOX_MBOX };

struct mailbox_options {
    const char *mail_dir;
    enum mailbox_kind kind;
    const char *hostname; /* for Maildir names */
    size_t max_copies;    /* per turn */
};

/* With the settings of local delivery; they must outlive *o. */
void mailbox_options_conf(struct mailbox_options *o, const struct conf *c,
                          size_t max_copies);

int mailbox_batch_new(struct mailbox_batch **b, const struct mailbox_options *o,
                      struct err *e);
void mailbox_batch_free(struct mailbox_batch **b); /* aborts what is open */

struct mailbox_message {
    const char *user;         /* mailbox name: a safe file name */
    struct span reverse_path; /* Return-Path */
    struct span delivered_to; /* the address it was accepted for */
    struct body body;         /* wire form; stored with LF line ends; the bytes
                                 must stay until publish or abort */
};

/* Step 1.  NULL with *e on failure (ERR_TEMP: later may work; ERR_PERM: the
 * name is unsafe or the mailbox is not one).  Missing mailboxes are made. */
struct mailbox_copy *mailbox_add(struct mailbox_batch *b,
                                 const struct mailbox_message *m,
                                 struct err *e);
void mailbox_sync(struct mailbox_batch *b);    /* step 2, for all */
void mailbox_publish(struct mailbox_batch *b); /* step 3, for all */
void mailbox_abort(
    struct mailbox_copy *c); /* before step 3; NULL is accepted */

/* Did the steps so far succeed for this copy?  0, or -1 with *e. */
int mailbox_status(const struct mailbox_copy *c, struct err *e);

void mailbox_reset(struct mailbox_batch *b); /* forget all copies; next turn */
#endif
