/* mailbox_turn.h - the turns of a mailbox process without process and socket:
 * for tests of mailboxes and for the model of power cuts. */
#ifndef MTA_TESTS_KIT_MAILBOX_TURN_H
#define MTA_TESTS_KIT_MAILBOX_TURN_H

#include "mailbox/client.h"

struct conf;
struct mailbox_work;

/* c must outlive it. */
struct mailbox_work *mailbox_turn_new(const struct conf *c);
void mailbox_turn_free(struct mailbox_work **w);

/* One turn with n requests, whose body.fd stays open.  fn is called for each;
 * not for those that wait for the lock of an mbox, which are answered by a
 * later turn (of 0 requests, too). */
void mailbox_turn_run(struct mailbox_work *w, const struct mailbox_request *r,
                      size_t n, mailbox_answer_fn *fn, void *ctx);

/* A turn that another follows: copies in a Maildir are answered by that. */
void mailbox_turn_run_on(struct mailbox_work *w,
                         const struct mailbox_request *r, size_t n,
                         mailbox_answer_fn *fn, void *ctx);
#endif
