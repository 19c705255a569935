/* serve/master.h - the SMTP server: one master, some workers.
 *
 * The master opens the listening sockets, drops privileges and forks the
 * workers, which share the sockets; each worker serves many sessions in one
 * select() loop (worker.h).  A worker that dies is replaced.  SIGHUP: read
 * the configuration again, start new workers, let the old ones finish.
 * SIGTERM, SIGINT: stop; transactions in hand are finished. */
#ifndef MTA_SERVE_MASTER_H
#define MTA_SERVE_MASTER_H

#include "base/err.h"
#include "config/conf.h"

/* Fill *c anew; -1 with *e leaves the old configuration in force. */
typedef int serve_reload_fn(void *ctx, struct conf *c, struct err *e);

/* Run as the master until told to stop.  The queue directory is made
 * (spool_dirs_make()).  Listening addresses, user and group are those of the
 * first configuration: a reload keeps the sockets.  Returns 0, or -1 with *e
 * when it could not start. */
int serve_run(const struct conf *c, serve_reload_fn *reload, void *ctx,
              struct err *e);
#endif
