/* control/server.h - a running process takes commands over a local socket.
 *
 * The protocol: a command is one line.  The answer is any number of lines that
 * begin with a blank, then one that does not: "ok", or "error: " and a text.
 * A connection may send one command after the other; one that is idle for
 * ten seconds, or sends a longer line than any command has, is closed.
 *
 * run/control.sock below the queue directory belongs to one process, which
 * holds run/control.lock as long as it lives: the socket that a killed one
 * left is replaced, that of a living one is not.  Root, the owner of the
 * socket and the user of this process may connect. */
#ifndef MTA_CONTROL_SERVER_H
#define MTA_CONTROL_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

struct control;

/* Carry out a command, add the lines of its answer (control_add()).  0: ok;
 * -1 with *e. */
typedef int control_fn(void *ctx, const char *command, struct buf *answer,
                       struct err *e);

void control_add(struct buf *answer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The socket is made with the effective user of the caller.  -1 with *e; its
 * sys is EWOULDBLOCK when another process has it. */
int control_listen(struct control **c, struct loop *l, const char *queue_dir,
                   control_fn *fn, void *ctx, struct err *e);

/* Ends connections, removes the socket; accepts NULL. */
void control_close(struct control **c);

/* In a child: closes its descriptors, and leaves the socket. */
void control_forget(struct control **c);
#endif
