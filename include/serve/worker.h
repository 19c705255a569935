/* serve/worker.h - one process that serves many sessions in one loop. */
#ifndef MTA_SERVE_WORKER_H
#define MTA_SERVE_WORKER_H

#include "base/err.h"
#include "base/list.h"
#include "config/conf.h"
#include "dns/resolver.h"
#include "net/conn.h"
#include "recipient/resolve.h"
#include "serve/clients.h"
#include "serve/commit.h"
#include "serve/session.h"
#include "serve/unknown.h"
#include "serve/yield.h"

enum { LISTEN_MAX = 16 };

/* What the master prepares and each worker inherits by fork(). */
struct serve_shared {
    const struct conf *conf;
    int listen_fd[LISTEN_MAX];
    size_t nlisten;
    struct clients *clients;
    struct unknown_table *unknown;
    unsigned descriptors; /* that a process may have */
};

struct listener {
    struct loop_io io;
    struct serve_worker *worker;
};

struct serve_worker {
    const struct conf *conf;
    const struct serve_shared *shared;
    unsigned row; /* in the table of clients */
    struct loop *loop;
    struct conn_env env;
    struct dns *dns;
    struct local *local;
    struct serve_commit *commit;
    struct serve_env sessions_env;
    struct listener listener[LISTEN_MAX];
    struct loop_io signal_io, line_io;
    struct loop_timer accept_again;
    struct pool *bodies; /* blocks of the texts that arrive */
    struct pool_bound bodies_bound;
    struct loop_timer trim; /* of them */
    struct list sessions, dead;
    unsigned nsessions;
    unsigned gathered;      /* turns since the commit has work */
    unsigned gathered_from; /* messages it had at the first of them */
    unsigned fruitless;     /* commits in a row that gained none by waiting */
    struct way way;         /* to the clients of this machine */
    bool listening, retired, stopping; /* stopping: retired as well */
    bool starved;       /* there was no descriptor for the last client */
    unsigned polls;     /* in a row of a backlog left to other workers */
    uint64_t last_poll; /* ms */
};

/* Serve until SIGTERM (or the master's death), or after SIGUSR2 until the
 * last client has left; does not return.  Copies of files come over the line
 * (base/handdown.h). */
void serve_worker_main(const struct serve_shared *shared, unsigned row,
                       int line) __attribute__((noreturn));

/* Would a worker start with these settings?  Reads the files they name. */
int serve_worker_check(const struct conf *c, struct err *e);

/* Clients that one worker can take: serve.max_clients, or what descriptors
 * allow, for its files must find some too. */
unsigned serve_worker_room(const struct serve_shared *shared);

/* worker_env.c: what sessions ask, what they get from the commit. */
int serve_worker_open_env(struct serve_worker *w, struct err *e);
void serve_worker_committed(struct serve_transaction *t, enum commit_result r,
                            const struct err *why);

bool serve_worker_trusts(const struct serve_worker *w, const struct addr *peer);
#endif
