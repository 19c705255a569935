/* control/server.h - a running process takes commands over a local socket.
 *
 * The protocol: a command is one line.  The answer is any number of lines that
 * begin with a blank, then one that does not: "ok", or "error: " and a text.
 * A connection may send one command after the other; one that is idle for
 * ten seconds, that does not read its answer for as long, or that sends a
 * longer line than any command has, is closed.
 *
 * run/NAME.sock below the queue directory belongs to one process, which
 * holds run/NAME.lock as long as it lives: the socket that a killed one
 * left is replaced, that of a living one is not.  Root, the owner of the
 * socket and the user of this process may connect. */
#ifndef MTA_CONTROL_SERVER_H
#define MTA_CONTROL_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

#include <sys/types.h>

struct control;

/* A command under way. */
struct control_call {
    const char *command;
    uid_t uid;   /* of the client */
    void *state; /* of the service; NULL at first */
};

enum { CONTROL_DONE, CONTROL_MORE };

struct control_service {
    const char *name;
    /* Carry out the command, and add the lines of its answer, or of the next
     * piece of it.  CONTROL_DONE; CONTROL_MORE: to be called again when the
     * client has taken this piece, in another turn of the loop; -1 with *e. */
    int (*run)(void *ctx, struct control_call *call, struct buf *answer,
               struct err *e);
    /* Frees call->state, which is not NULL: the answer is complete, or its
     * client has gone.  NULL: the service keeps none. */
    void (*end)(void *ctx, struct control_call *call);
    void *ctx;
};

void control_add(struct buf *answer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* One more control_add() fits into this piece. */
bool control_has_room(const struct buf *answer);

/* The socket is made with the effective user of the caller, which has no
 * threads yet.  The service is copied.  -1 with *e; its sys is EWOULDBLOCK
 * when another process has the socket. */
int control_listen(struct control **c, struct loop *l, const char *queue_dir,
                   const struct control_service *service, struct err *e);

/* Ends connections, removes the socket; accepts NULL. */
void control_close(struct control **c);

/* In a child: closes its descriptors, and leaves the socket. */
void control_forget(struct control **c);
#endif
