/* cli/supervise.h - keep the services of one process tree running.
 *
 * `mta run`, `mta serve` and `mta send` are the same parent with different
 * children: the collector of the log, the server, the sender.  It is a
 * correct PID 1: reaps whatever becomes its child, passes signals on, stops
 * in order (server and sender first, the collector last, so the last lines
 * of the log are written). */
#ifndef MTA_CLI_SUPERVISE_H
#define MTA_CLI_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>

struct service {
    const char *name;
    int (*run)(void *ctx); /* in the child; returns the exit status */
    void *ctx;
    bool (*wanted)(void *ctx); /* NULL: always; asked before each start */
    void (*reload)(void *ctx); /* NULL: nothing; in the parent, at SIGHUP */
    bool ends; /* its end is the end of the whole, with its status */
    bool last; /* stopped after the others (the collector) */
};

enum { SUPERVISE_MAX = 4 };

/* Run until SIGTERM or SIGINT, or until a service with `ends` is over.
 * SIGHUP and SIGUSR1 are passed on.  A service that dies is started again;
 * one that fails at its first start ends the whole with its status: a
 * mistake in the set-up must be seen.  Returns the exit status. */
int supervise(const struct service *s, size_t n);
#endif
