/* send/sign_thread.h - the thread that reads what is to be signed, builds the
 * fields and asks the signer.  For src/send/signing.c.
 *
 * Reading a body may take long, and a signer may be slow: neither is for the
 * main thread.  Tasks travel as work items do (send/worker.h). */
#ifndef MTA_SEND_SIGN_THREAD_H
#define MTA_SEND_SIGN_THREAD_H

#include "config/conf.h"
#include "send/sign_task.h"

struct sign_thread;

/* channel: the sender's end (signer/signer.h).  Signals must be blocked
 * already. */
int sign_thread_start(struct sign_thread **t, const struct conf *c, int channel,
                      struct err *e);

void sign_thread_give(struct sign_thread *t, struct sign_task *task);
void sign_thread_hand_over(struct sign_thread *t); /* at the end of a turn */

/* Readable when tasks have come back; sign_thread_take() moves them to `to`.
 * *renewed: the signer has other keys than before. */
int sign_thread_fd(const struct sign_thread *t);
void sign_thread_take(struct sign_thread *t, struct list *to, bool *renewed);

/* All tasks come back, done or not, and so do later ones. */
void sign_thread_stop(struct sign_thread *t);
/* Joins the thread; all tasks have come back then. */
void sign_thread_join(struct sign_thread *t);
void sign_thread_free(struct sign_thread **t); /* joined; accepts NULL */
#endif
