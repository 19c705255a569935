/* control/client.h - give a command to a running process (control/server.h). */
#ifndef MTA_CONTROL_CLIENT_H
#define MTA_CONTROL_CLIENT_H

#include "base/err.h"
#include "base/span.h"

/* Gets each line of the answer, without its blank and its end; what it returns
 * ends the answer, unless it is 0. */
typedef int control_line_fn(void *ctx, struct span line);

struct control_ask {
    const char *queue_dir, *name; /* run/NAME.sock below queue_dir */
    const char *command;
    control_line_fn *fn;
    void *ctx;
    unsigned patience; /* seconds without an answer; 0: one */
};

/* 0; the result of fn; -1 with *e: sys ENOENT or ECONNREFUSED: no process has
 * the socket; EAGAIN: it has not answered for so long. */
int control_ask(const struct control_ask *a, struct err *e);
#endif
