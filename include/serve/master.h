/* serve/master.h - the SMTP server: one master and its workers.
 *
 * The master drops privileges and forks the workers, which share the listening
 * sockets; each worker serves many sessions in one select() loop (worker.h).
 * Where users are those of the system, each worker has a user helper, which the
 * master forks, too (recipient/user_helper.h).  The master replaces what dies.
 * SIGTERM and SIGINT stop the server after open transactions are finished.  A
 * reload starts another master; this one gets SERVE_DRAIN. */
#ifndef MTA_SERVE_MASTER_H
#define MTA_SERVE_MASTER_H

#include "base/err.h"
#include "config/conf.h"
#include "serve/clients.h"
#include "serve/unknown_users.h"
#include "serve/worker.h"

enum {
    SERVE_WORKERS_MAX = 256, /* maximum of serve.workers */
    /* Masters that may have workers at the same time: two generations, and
     * killed masters whose workers finish their transactions. */
    SERVE_MASTERS_MAX = 4
};

/* Message on the line: accept no new clients, end with the last session. */
#define SERVE_DRAIN "drain"

/* Shared memory of the workers of all generations. */
struct serve_tables {
    struct clients *clients; /* a row for each worker of each master */
    struct unknown_table *unknown;
};

/* Call serve_tables_free() after a failure, too. */
int serve_tables_new(struct serve_tables *t, struct err *e);
void serve_tables_free(struct serve_tables *t);

/* Messages on the line of a worker.  Down, besides files (base/handdown.h),
 * with a descriptor: a new user helper.  Up: kill and replace it. */
#define SERVE_HELPER "helper"
#define SERVE_REPLACE_HELPER "replace helper"

struct serve_options {
    const struct conf *conf;
    const struct serve_socket *listen;
    size_t nlisten;
    const struct serve_tables *tables;
    struct full_page *full; /* written by local delivery */
    unsigned master; /* its rows of the tables: below SERVE_MASTERS_MAX */
    int line;        /* to the supervisor, which sends copies of files */
};

/* Run as the master until a signal or SERVE_DRAIN ends it.  The queue directory
 * must exist (spool_dirs_make()).  Returns 0, or -1 with *e when it could not
 * start. */
int serve_run(const struct serve_options *o, struct err *e);
#endif
