/* cli/listeners.h - the listening sockets that the supervisor opens for the
 * server: those of serve.listen, and queue_dir/submit for programs of this
 * host. */
#ifndef MTA_CLI_LISTENERS_H
#define MTA_CLI_LISTENERS_H

#include "base/fs.h"
#include "config/conf.h"
#include "serve/worker.h"

/* The settings must outlive it. */
struct listeners {
    size_t n;
    struct serve_socket item[LISTEN_MAX]; /* fd -1: not there */
    struct fs_identity file[LISTEN_MAX];  /* of each Unix socket */
    pid_t owner; /* it alone removes the names of Unix sockets */
};

/* Open all of them; queue_dir exists.  Those that `now` or `next` has, which
 * may be NULL, are shared.  0, or -1 with *e; call listeners_close() then,
 * too. */
int listeners_open(struct listeners *l, const struct conf *c,
                   const struct listeners *now, const struct listeners *next,
                   struct err *e);

/* Close those that neither a nor b has, which may be NULL.  The owner removes
 * their names, unless another process has given the name to a socket of its
 * own; c is as in listeners_open(). */
void listeners_close(struct listeners *l, const struct conf *c,
                     const struct listeners *a, const struct listeners *b);
#endif
