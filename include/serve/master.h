/* serve/master.h - the SMTP server: one master, some workers.
 *
 * The master drops privileges and forks the workers, which share the
 * listening sockets; each worker serves many sessions in one select() loop
 * (worker.h).  A worker that dies is replaced.  SIGTERM, SIGINT: stop;
 * transactions in hand are finished.  A reload makes another master beside
 * this one, which is told SERVE_DRAIN. */
#ifndef MTA_SERVE_MASTER_H
#define MTA_SERVE_MASTER_H

#include "base/err.h"
#include "config/conf.h"
#include "serve/clients.h"
#include "serve/unknown.h"

enum {
    SERVE_WORKERS_MAX = 256, /* as serve.workers */
    /* Masters that may have workers at the same time: two generations, and
     * the workers of killed masters, which finish their transactions. */
    SERVE_MASTERS_MAX = 4
};

/* Over the line: no new clients; end with the last session. */
#define SERVE_DRAIN "drain"

/* What the workers of all generations share, in memory. */
struct serve_tables {
    struct clients *clients; /* a row for each worker of each master */
    struct unknown_table *unknown;
};

/* On failure, too, serve_tables_free() is due. */
int serve_tables_new(struct serve_tables *t, struct err *e);
void serve_tables_free(struct serve_tables *t);

struct serve_options {
    const struct conf *conf;
    const int *listen_fd; /* one for each of serve.listen; -1: not there */
    size_t nlisten;
    const struct serve_tables *tables;
    unsigned master; /* its rows of the tables: below SERVE_MASTERS_MAX */
    int line;        /* to the supervisor; copies of files come on it */
};

/* Run as the master until told to stop.  The queue directory is made
 * (spool_dirs_make()).  Returns 0, or -1 with *e when it could not start. */
int serve_run(const struct serve_options *o, struct err *e);
#endif
