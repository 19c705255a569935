/* mailbox/client.h - deliver's end of the socketpair to one mailbox process.
 *
 * Copies of a turn are collected and sent in as few packets as possible; the
 * descriptor of a segment goes along with the first copy that needs it.  Never
 * blocks, and never calls back except in mailbox_client_take().  At most
 * MAILBOX_WINDOW copies are out, counted from put to answer.
 *
 * Answers come in any order: a mailbox that is locked holds up no other.  The
 * process may end at any time; then mailbox_client_flush() or _take() return
 * -1, and the state of the copies without an answer is unknown: give them to
 * its successor with look_first. */
#ifndef MTA_MAILBOX_CLIENT_H
#define MTA_MAILBOX_CLIENT_H

#include "base/err.h"
#include "mailbox/request.h"

struct mailbox_client;

/* fd: one end of line_pair().  Owned by the client, on failure too. */
int mailbox_client_new(struct mailbox_client **c, int fd, struct err *e);
/* Closes the end, which ends the process.  Accepts NULL. */
void mailbox_client_free(struct mailbox_client **c);

/* Take one copy into the packet that is being filled; a full packet is sent.
 * Strings are copied, and so is the descriptor: a file is known by its device
 * and inode number, not by body.fd.
 * 0; 1: full, put it again after the next answers, or when the descriptor is
 * writable; -1 with *e: the request itself is wrong (ERR_BUG: key, length of
 * an address, body not in a file), no descriptor is free or the process is
 * gone (ERR_TEMP). */
int mailbox_client_put(struct mailbox_client *c,
                       const struct mailbox_request *r, struct err *e);

/* Send what is there, and let the process close files that no copy has needed
 * for some seconds: call it at the end of each turn, and once a second.
 * 0: all is sent; 1: call it again when the descriptor is writable; -1: the
 * process is gone. */
int mailbox_client_flush(struct mailbox_client *c, struct err *e);

/* Call fn for each answer that is there.  0; -1: the process is gone (what it
 * answered before has been handed out). */
typedef void mailbox_answer_fn(void *ctx, const struct mailbox_answer *a);
int mailbox_client_take(struct mailbox_client *c, mailbox_answer_fn *fn,
                        void *ctx);

int mailbox_client_fd(const struct mailbox_client *c);
unsigned mailbox_client_out(const struct mailbox_client *c); /* unanswered */
#endif
