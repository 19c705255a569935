/* cli/supervise.h - keep the services of one process tree running.
 *
 * `mta run`, `serve`, `deliver` and `send` are the same parent with different
 * children: the collector of the log, the server, local delivery, the sender.
 * It is a correct PID 1: reaps whatever becomes its child, passes signals on,
 * stops in order (the collector last, so the last lines of the log are
 * written), within the times of base/stop.h.  Each service is
 * a process group, and has a line (base/line.h) to its parent. */
#ifndef MTA_CLI_SUPERVISE_H
#define MTA_CLI_SUPERVISE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct service {
    const char *name;
    int (*run)(void *ctx, int line); /* in the child; returns its exit status */
    bool (*wanted)(void *ctx);       /* NULL: always; asked before each start */
    /* Send changed files to the running process; NULL: it needs none. */
    int (*send)(void *ctx, int line, struct err *e);
    const char *drain;  /* a message for the line: a new generation begins
                          beside the old one, which ends when it is done.
                          NULL: when the old one has ended, by SIGTERM */
    const char *serves; /* the name of another service that asks this one: at
                           each start of one of them both get an end of a new
                           pair (base/line.h) over their lines, with the
                           messages SUPERVISE_PAIR and, to the other, the same,
                           a blank and the name of this service */
    bool (*stuck)(void *ctx); /* asked every few seconds; true: it hangs, is
                               * killed, and started again.  NULL: never */
    bool ends; /* its end is the end of the whole, with its status */
    bool last; /* the collector: one for all generations; is sent SIGHUP
                  behind a message; stopped after the others */
};

struct supervise {
    const struct service *service;
    size_t n;
    void *ctx;
    const char *queue_dir; /* for the control socket */

    long long (*stop_timeout)(void *ctx);                 /* seconds */
    void (*in_child)(void *ctx, const struct service *s); /* close the rest */
    void (*before_stop)(void *ctx); /* close what clients connect to */

    /* SIGHUP: open the log again.  Then read and check all settings: what has
     * changed, in SUPERVISE_ bits; -1 with *e changes nothing.  What was
     * checked last comes into force with adopt(), at once or when there is no
     * generation but the one that runs: true when the collector is concerned,
     * too. */
    void (*reopen)(void *ctx);
    int (*check)(void *ctx, struct err *e);
    bool (*adopt)(void *ctx);
    /* Called every few seconds; returns the changes; -1 with *e. */
    int (*watch)(void *ctx, struct err *e);
    /* Log the result of a reload (e NULL: success). */
    void (*report)(void *ctx, unsigned generation, const struct err *e);

    /* Switch to the user's ids, to make the control socket. */
    int (*as_user)(void *ctx, struct err *e);
    void (*as_started)(void *ctx);
};

#define SUPERVISE_PAIR "pair"

enum { SUPERVISE_MAX = 7 };

/* What has changed: something to be sent to the collector, to the others;
 * settings, so that a new generation is due. */
enum { SUPERVISE_LAST = 1, SUPERVISE_OTHERS = 2, SUPERVISE_NEXT = 4 };

/* Block the signals until supervise(); call it before a client can connect. */
int supervise_signals(struct err *e);

/* Run until SIGTERM or SIGINT, or until a service with `ends` is over.
 * SIGHUP, and `reload` on the control socket: if settings have changed, the
 * next generation; a further change waits until the one before has ended,
 * whose sessions have stop_timeout for that.  SIGUSR1 is passed on.  A service
 * that dies is started again, the collector also during a stop; one that fails
 * at its first start ends the whole with its status: a mistake in the set-up
 * must be seen.  Returns the exit status. */
int supervise(const struct supervise *plan);
#endif
