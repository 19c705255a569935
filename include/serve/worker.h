/* serve/worker.h - one process that serves many sessions in one loop. */
#ifndef MTA_SERVE_WORKER_H
#define MTA_SERVE_WORKER_H

#include "base/err.h"
#include "base/list.h"
#include "config/conf.h"
#include "dns/resolver.h"
#include "net/conn.h"
#include "recipient/full_page.h"
#include "recipient/relay.h"
#include "recipient/resolve.h"
#include "recipient/user_asker.h"
#include "serve/clients.h"
#include "serve/commit.h"
#include "serve/session.h"
#include "serve/tickets.h"
#include "serve/unknown_users.h"
#include "serve/yield.h"

enum { LISTEN_MAX = 17 };

struct serve_socket {
    int fd; /* -1: not there */
    unsigned roles;
    struct addr at; /* of a Unix socket: its path outlives the server */
};

/* Prepared by the master, inherited by each worker through fork(). */
struct serve_shared {
    const struct conf *conf;
    struct serve_socket listen[LISTEN_MAX];
    size_t nlisten;
    struct clients *clients;
    struct unknown_table *unknown;
    struct full_page *full; /* shared with local delivery */
    struct serve_tickets tickets;
    unsigned descriptors; /* that a process may have */
};

struct listener {
    struct loop_io io;
    struct serve_worker *worker;
    unsigned roles;
    const char *name; /* of a Unix socket, without directories; else NULL */
};

struct serve_worker {
    const struct conf *conf;
    const struct serve_shared *shared;
    unsigned row; /* in the table of clients */
    struct loop *loop;
    struct conn_env env;
    struct dns *dns;
    struct local *local;
    struct relay *relay;
    struct user_asker *users; /* with local.users = passwd, else NULL */
    struct serve_commit *commit;
    struct serve_env sessions_env;
    struct serve_tickets tickets;
    struct listener listener[LISTEN_MAX];
    struct loop_io signal_io, line_io;
    struct loop_timer accept_again;
    struct pool *bodies; /* blocks of the texts that arrive */
    struct pool_bound bodies_bound;
    struct loop_timer trim; /* for bodies */
    struct list sessions, dead;
    unsigned nsessions;
    unsigned gathered;      /* turns since the commit got its first message */
    unsigned gathered_from; /* messages it had in the first of them */
    unsigned fruitless;     /* commits in a row without gain */
    struct way way;         /* for clients on this machine */
    struct rest rest;       /* among handshakes */
    bool listening, retired, stopping; /* stopping: retired as well */
    bool starved;       /* no descriptor was left for the last client */
    unsigned polls;     /* in a row that left the backlog to others */
    uint64_t last_poll; /* ms */
};

/* Serve until SIGTERM or the master's death, or after SIGUSR2 until the last
 * session has ended; does not return.  Copies of files arrive over the line
 * (base/handdown.h). */
void serve_worker_main(const struct serve_shared *shared, unsigned row,
                       int line) __attribute__((noreturn));

/* Check that a worker would start with these settings.  Reads the files they
 * name. */
int serve_worker_check(const struct conf *c, struct err *e);

/* Number of clients that one worker can serve: serve.max_clients, or fewer when
 * descriptors are short, because its files need some too. */
unsigned serve_worker_room(const struct serve_shared *shared);

/* worker_env.c: the callbacks for sessions. */
int serve_worker_open_env(struct serve_worker *w, struct err *e);

bool serve_worker_trusts(const struct serve_worker *w, const struct addr *peer);
#endif
