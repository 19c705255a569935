#include "serve/worker.h"

#include "base/handdown.h"
#include "base/line.h"
#include "base/network.h"
#include "base/os.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/stop.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "net/listen.h"
#include "serve/certificates.h"
#include "serve/master.h"
#include "serve/reply.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    ACCEPT_PER_TURN = 64, /* then open sessions run */
    OTHER_BLOCKS = 1024,
    CLIENT_BLOCKS = 4,    /* input, replies, envelopes; */
    TLS_BLOCKS = 2,       /* and parts of records */
    TRIM_MS = 1000,       /* free slabs of bodies unused for so long */
    LAST_WORDS_MS = 1000, /* for clients that only have to read a 421 */
    GATHER_TURNS = 6,     /* turns without commit, or until so many: */
    GATHER_ENOUGH = 16,
    GATHER_MS = 1,         /* the wait of each of these turns, unless */
    FRUITLESS = 8,         /* after so many commits without gain, skip it; */
    FRUITLESS_MAX = 64,    /* try it again after so many */
    ACCEPT_AGAIN_MS = 100, /* out of descriptors, or full: poll again */
    BACKLOG_POLLS = 10,    /* left to other workers so often, then reject */
    RELAY_SHARE = 10,      /* a tenth of the places is for relay networks */
    OWN_FDS = 64           /* for the queues, DNS, the helper, the log */
};

bool serve_worker_trusts(const struct serve_worker *w, const struct addr *peer)
{
    const struct conf_networks *l = &w->conf->serve.relay_networks;

    if (addr_is_unix(peer)) /* a program of this host */
        return true;
    for (size_t i = 0; i < l->n; i++)
        if (net_cidr_has(&l->item[i], peer))
            return true;
    return false;
}

/* With very few descriptors half of them are for clients. */
unsigned serve_worker_room(const struct serve_shared *shared)
{
    unsigned max = (unsigned)shared->conf->serve.max_clients;
    unsigned fds = shared->descriptors;
    unsigned room = fds > 2 * OWN_FDS ? fds - OWN_FDS : fds / 2;

    return max < room ? max : room;
}

/* --- accepting ------------------------------------------------------- */

static void listen_to_all(struct serve_worker *w, bool on)
{
    struct err e;

    if (w->listening == on)
        return;
    w->listening = on;
    for (size_t i = 0; i < w->shared->nlisten; i++)
        if (loop_watch(w->loop, &w->listener[i].io, on ? LOOP_READ : 0, &e) !=
            0)
            log_err(LOG_ERROR, "serve.listen", &e);
}

static void start_session(struct serve_worker *w, int fd,
                          const struct addr *peer, unsigned roles)
{
    struct serve_session *s = serve_session_new(&w->sessions_env, peer, roles);
    struct err e;

    if (s == NULL) {
        LOG(LOG_ERROR, "serve.overload",
            LS("error", "no memory for a session"));
        close(fd);
        return;
    }
    list_push(&w->sessions, serve_session_link(s));
    w->nsessions++;
    clients_add(w->shared->clients, w->row, peer);
    if (serve_session_start(s, fd, &e) != 0) {
        log_err(LOG_ERROR, "serve.overload", &e);
        w->sessions_env.ended(w, s);
    }
}

/* Keep RELAY_SHARE of the places for relay networks, so that their mail is
 * accepted while other clients fill the rest. */
static unsigned open_room(const struct serve_worker *w)
{
    unsigned room = serve_worker_room(w->shared);

    return room - room / RELAY_SHARE;
}

/* A client that expects TLS could not read the reply. */
static void refuse(int fd, unsigned roles, enum serve_reply r)
{
    if (roles & CONF_ROLE_TLS)
        close(fd);
    else
        serve_reply_close(fd, r);
}

static void refuse_full(const struct serve_worker *w, int fd, unsigned roles,
                        const struct addr *peer)
{
    char client[ADDR_TEXT];

    addr_text(client, peer);
    LOG(LOG_WARN, "serve.overload", LS("client", client),
        LN_IF("uid", addr_is_unix(peer), peer->u.local.uid),
        LN("clients", w->nsessions), LS("error", "too many clients"));
    refuse(fd, roles, REPLY_TOO_MANY_CLIENTS);
}

static void refuse_more(int fd, unsigned roles, const struct addr *peer)
{
    struct verdict v = serve_reject(REPLY_TOO_MANY_OF_CLIENT);
    char client[ADDR_TEXT];

    addr_text(client, peer);
    LOG(LOG_WARN, "serve.reject", LS("client", client),
        LN_IF("uid", addr_is_unix(peer), peer->u.local.uid), LN("code", v.code),
        LS("enhanced", v.status), LS("why", v.text));
    refuse(fd, roles, REPLY_TOO_MANY_OF_CLIENT);
}

/* A local user may open as many connections as an address, root and the owner
 * of the queue any number. */
static bool is_limited(const struct serve_worker *w, const struct addr *peer)
{
    if (addr_is_unix(peer))
        return peer->u.local.uid != 0 && peer->u.local.uid != geteuid();
    return !serve_worker_trusts(w, peer);
}

static void take_client(struct serve_worker *w, int fd, const struct addr *peer,
                        unsigned roles)
{
    unsigned long long max =
        (unsigned long long)w->conf->serve.max_clients_per_ip;
    unsigned room =
        is_limited(w, peer) ? open_room(w) : serve_worker_room(w->shared);

    if (w->nsessions >= room)
        refuse_full(w, fd, roles, peer);
    else if (is_limited(w, peer) && clients_of(w->shared->clients, peer) >= max)
        refuse_more(fd, roles, peer);
    else
        start_session(w, fd, peer, roles);
}

/* When this worker is full, with or without the places of relay networks, but
 * another is not, leave the connection in the backlog.  When all are full, or
 * when it stays there for BACKLOG_POLLS polls because the workers with room are
 * stuck, accept and reject it. */
static bool leave_to_others(struct serve_worker *w)
{
    unsigned room = serve_worker_room(w->shared), open = open_room(w);
    unsigned max = w->nsessions >= room ? room : open;
    uint64_t now = loop_now(w->loop);

    if (w->nsessions < max || !clients_room(w->shared->clients, max))
        return false;
    if (now > w->last_poll + 2 * ACCEPT_AGAIN_MS)
        w->polls = 0;
    w->last_poll = now;
    return w->polls++ < BACKLOG_POLLS;
}

/* Out of descriptors: stop accepting for a moment.  Logged once, however long
 * it lasts. */
static void be_starved(struct serve_worker *w)
{
    if (!w->starved)
        LOG(LOG_ERROR, "serve.overload",
            LS("error", "out of descriptors or memory"));
    w->starved = true;
    listen_to_all(w, false);
    loop_timer_set(w->loop, &w->accept_again, ACCEPT_AGAIN_MS);
}

static void on_client(struct loop_io *io, unsigned ready)
{
    const struct listener *l = LOOP_ENTRY(io, struct listener, io);
    struct serve_worker *w = l->worker;
    struct addr peer;

    (void)ready;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        if (leave_to_others(w)) {
            listen_to_all(w, false);
            loop_timer_set(w->loop, &w->accept_again, ACCEPT_AGAIN_MS);
            return;
        }
        int fd = net_accept(io->fd, &peer);
        if (fd >= 0) {
            w->starved = false;
            if (l->name != NULL)
                peer.u.local.path = l->name;
            take_client(w, fd, &peer, l->roles);
            continue;
        }
        if (os_is_short(errno)) {
            be_starved(w);
            return;
        }
        if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
            return;
    }
}

static void on_accept_again(struct loop_timer *t)
{
    struct serve_worker *w = LOOP_ENTRY(t, struct serve_worker, accept_again);

    if (!w->retired)
        listen_to_all(w, true);
}

/* --- memory for bodies ----------------------------------------------- */

static bool take_memory(struct pool_bound *b, size_t bytes)
{
    struct serve_worker *w = LIST_ENTRY(b, struct serve_worker, bodies_bound);

    if (!clients_take_memory(w->shared->clients, w->row, bytes,
                             (size_t)w->conf->serve.body_memory))
        return false;
    if (!loop_timer_is_set(&w->trim))
        loop_timer_set(w->loop, &w->trim, TRIM_MS);
    return true;
}

static void give_memory(struct pool_bound *b, size_t bytes)
{
    struct serve_worker *w = LIST_ENTRY(b, struct serve_worker, bodies_bound);

    clients_give_memory(w->shared->clients, w->row, bytes);
}

static void on_trim(struct loop_timer *t)
{
    struct serve_worker *w = LOOP_ENTRY(t, struct serve_worker, trim);

    if (pool_trim(w->bodies))
        loop_timer_set(w->loop, &w->trim, TRIM_MS);
}

static int open_bodies(struct serve_worker *w, struct err *e)
{
    w->trim.fn = on_trim;
    w->bodies_bound = (struct pool_bound){ take_memory, give_memory };
    w->bodies = chain_pool_new_bound(&w->bodies_bound);
    return w->bodies != NULL ? 0 : err_set(e, ERR_TEMP, 0, "no memory");
}

/* --- stopping -------------------------------------------------------- */

/* Close the descriptors too: while one is open, a client that connects after
 * the stop waits in the backlog instead of being refused. */
static void stop_listening(struct serve_worker *w)
{
    if (w->retired)
        return;
    listen_to_all(w, false);
    for (size_t i = 0; i < w->shared->nlisten; i++)
        close(w->listener[i].io.fd);
    w->retired = true;
}

/* SIGUSR2 retires the worker: it accepts no new clients and serves its sessions
 * to their end.  Ignored unless the master has retired this row, because a
 * stray signal must not stop a worker from accepting.  SIGTERM stops it: it
 * finishes open transactions. */
static void on_stop(struct loop_io *io, unsigned ready)
{
    struct serve_worker *w = LOOP_ENTRY(io, struct serve_worker, signal_io);
    struct list *l, *next;

    (void)ready;
    os_drain(io->fd);
    bool stop = signals_count(SIGTERM) > 0;
    if (stop || !clients_takes(w->shared->clients, w->row))
        stop_listening(w);
    if (!stop || w->stopping)
        return;
    w->stopping = w->sessions_env.stopping = true;
    for (l = w->sessions.next; l != &w->sessions; l = next) {
        next = l->next;
        serve_session_stop(serve_session_of_link(l));
    }
}

static void bury_dead(struct serve_worker *w)
{
    struct list *l;

    while ((l = list_pop(&w->dead)) != NULL) {
        struct serve_session *s = serve_session_of_link(l);
        serve_session_free(&s);
    }
}

static bool has_open_session(const struct serve_worker *w)
{
    for (struct list *l = w->sessions.next; l != &w->sessions; l = l->next)
        if (!serve_session_is_over(serve_session_of_link(l)))
            return true;
    return false;
}

/* Wait for open transactions, then LAST_WORDS_MS for clients to read their
 * replies.  *stop_by is 0 at first. */
static bool time_to_go(const struct serve_worker *w, uint64_t *stop_by,
                       bool *silent)
{
    uint64_t now = loop_now(w->loop);

    if (!w->stopping)
        return false;
    if (*stop_by == 0)
        *stop_by = now + stop_ms(w->conf->stop_timeout, 0);
    if (!*silent && !has_open_session(w)) {
        *silent = true;
        if (*stop_by > now + LAST_WORDS_MS)
            *stop_by = now + LAST_WORDS_MS;
    }
    return now >= *stop_by;
}

/* Delay the commit for a few turns, each with a short wait for input, while
 * other transactions are open: a sync costs as much as ten messages, and more
 * messages share it.  Commit at once when no input arrives or no other
 * transaction is open.  Skip the delay after FRUITLESS commits that gained no
 * message by it, because among slow clients it only delays the fast ones. */
static bool gather_more(struct serve_worker *w)
{
    unsigned n = serve_commit_waiting(w->commit);

    if (n > 0 && n < GATHER_ENOUGH && n < w->sessions_env.transactions &&
        !w->stopping && w->gathered < GATHER_TURNS &&
        loop_nready(w->loop) > 0) {
        if (w->gathered++ == 0)
            w->gathered_from = n;
        return true;
    }
    if (w->gathered > 0) {
        w->fruitless = n > w->gathered_from ? 0 : w->fruitless + 1;
        if (w->fruitless == FRUITLESS_MAX)
            w->fruitless = FRUITLESS - 1;
    }
    w->gathered = 0;
    return false;
}

/* Flush replies that do not depend on this commit first, so that those clients
 * go on sending while this process waits in fdatasync(). */
static void commit(struct serve_worker *w)
{
    if (serve_commit_waiting(w->commit) == 0)
        return;
    conn_flush_all(&w->env);
    serve_commit_run(w->commit);
    /* Hand the log lines of these messages over before their clients get a
     * reply: a kill then leaves no mail without a line, and mail slows down
     * while no collector takes lines. */
    (void)log_flush_wait();
}

static int wait_ms(const struct serve_worker *w)
{
    if (w->gathered > 0)
        return w->fruitless < FRUITLESS ? GATHER_MS : 0;
    if (serve_commit_waiting(w->commit) > 0) /* submitted in the last flush */
        return 0;
    return w->stopping ? 100 : -1;
}

static void serve(struct serve_worker *w)
{
    uint64_t stop_by = 0;
    bool silent = false;
    struct err e;

    while (!w->retired || !list_empty(&w->sessions)) {
        if (time_to_go(w, &stop_by, &silent))
            break;
        if (w->nsessions > 1)
            way_give(&w->way);
        if (loop_turn(w->loop, wait_ms(w), &e) < 0) {
            log_err(LOG_ERROR, "serve.loop", &e);
            break;
        }
        bool rest = rest_is_due(&w->rest, (unsigned)loop_nready(w->loop),
                                w->env.handshakes.us > 0);
        loop_rest(w->loop, rest && w->nsessions > 1 ? REST_US : 0);
        bool wait = gather_more(w);
        if (!wait)
            commit(w);
        conn_flush_all(&w->env);
        bury_dead(w);
        if (!wait)
            log_flush();
    }
}

/* --- users ----------------------------------------------------------- */

static void on_users_answered(void *ctx)
{
    serve_env_answered(&((struct serve_worker *)ctx)->sessions_env);
}

static void on_helper_lost(void *ctx)
{
    struct serve_worker *w = ctx;
    struct err e;

    if (line_send(w->line_io.fd, SERVE_REPLACE_HELPER, -1, &e) != 0)
        log_err(LOG_ERROR, "serve.helper", &e);
}

static int open_relay(struct relay **r, const struct conf *c, struct err *e)
{
    return relay_open(r, &c->serve.relay_domains, c->local.recipient_delimiter,
                      e);
}

static int open_local(struct serve_worker *w, struct err *e)
{
    if (local_open(&w->local, &w->conf->local, e) != 0 ||
        open_relay(&w->relay, w->conf, e) != 0)
        return -1;
    if (w->conf->local.users.source == CONF_USERS_PASSWD &&
        user_asker_new(&w->users, w->loop, on_users_answered, on_helper_lost, w,
                       e) != 0)
        return -1;
    local_use_asker(w->local, w->users);
    return 0;
}

/* --- set-up ---------------------------------------------------------- */

static int open_parts(struct serve_worker *w, struct err *e)
{
    size_t clients = (size_t)w->conf->serve.max_clients;
    size_t each = w->conf->serve.tls_cert.n > 0 ? CLIENT_BLOCKS + TLS_BLOCKS
                                                : CLIENT_BLOCKS;

    if (loop_new(&w->loop, NULL, e) != 0 ||
        conn_env_init(&w->env, w->loop, OTHER_BLOCKS + each * clients, e) !=
            0 ||
        open_bodies(w, e) != 0 ||
        dns_open_conf(&w->dns, w->loop, w->conf, e) != 0 ||
        open_local(w, e) != 0 ||
        serve_commit_open(&w->commit, w->conf->queue_dir,
                          serve_session_committed, e) != 0)
        return -1;
    return serve_worker_open_env(w, e);
}

static int open_signals(struct serve_worker *w, struct err *e)
{
    static const int ours[] = { SIGTERM, SIGUSR2 };

    if (signals_catch(ours, sizeof ours / sizeof ours[0], e) != 0)
        return -1;
    os_signal(SIGINT, SIG_IGN); /* the master sends SIGTERM instead */
    os_signal(SIGHUP, SIG_IGN);
    w->signal_io.fd = signals_fd();
    w->signal_io.fn = on_stop;
    raise(SIGUSR2); /* the signal may have arrived before its handler was set */
    return loop_watch(w->loop, &w->signal_io, LOOP_READ, e);
}

/* Load other aliases, users or name servers.  The supervisor has checked them,
 * so only memory can be short; then the worker keeps its tables. */
static void renew_tables(struct serve_worker *w)
{
    struct local *local = NULL;
    struct relay *relay = NULL;
    struct err e;

    if (local_open(&local, &w->conf->local, &e) != 0 ||
        open_relay(&relay, w->conf, &e) != 0 ||
        dns_renew(w->dns, w->conf, &e) != 0) {
        log_err(LOG_ERROR, "serve.tables", &e);
        relay_close(&relay);
        local_close(&local);
        return;
    }
    relay_close(&w->relay);
    w->relay = relay;
    local_close(&w->local);
    w->local = local;
    local_use_asker(w->local, w->users);
}

/* Sessions in TLS go on with the certificate they began with.  One that cannot
 * be loaded, as the supervisor has checked it, leaves the former in force; at a
 * start STARTTLS is answered with 454. */
static void renew_certificates(struct serve_worker *w)
{
    struct tls_context *tls;
    struct err e;

    if (serve_certificates_load(&tls, w->conf, &e) != 0) {
        log_err(LOG_ERROR, "serve.tables", &e);
        return;
    }
    if (tls != NULL)
        serve_tickets_use(&w->tickets, tls);
    tls_context_free(&w->sessions_env.tls);
    w->sessions_env.tls = tls;
}

static void on_line(struct loop_io *io, unsigned ready)
{
    struct serve_worker *w = LOOP_ENTRY(io, struct serve_worker, line_io);
    char message[LINE_MAX_TEXT];
    bool renew = false;
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0) {
        if (handdown_accept(message, fd))
            renew = true;
        else if (strcmp(message, HANDDOWN_END) == 0)
            renew_certificates(w);
        else if (serve_tickets_accept(&w->tickets, message))
            serve_tickets_use(&w->tickets, w->sessions_env.tls);
        else if (fd >= 0 && w->users != NULL &&
                 strcmp(message, SERVE_HELPER) == 0)
            user_asker_connect(w->users, fd);
        else if (fd >= 0)
            close(fd);
    }
    if (renew)
        renew_tables(w);
    if (rc < 0)
        (void)loop_watch(w->loop, io, 0, NULL);
}

static int serve_worker_open(struct serve_worker *w, struct err *e)
{
    if (open_parts(w, e) != 0 || open_signals(w, e) != 0)
        return -1;
    renew_certificates(w);
    w->line_io.fn = on_line;
    if (loop_watch(w->loop, &w->line_io, LOOP_READ, e) != 0)
        return -1;
    for (size_t i = 0; i < w->shared->nlisten; i++) {
        w->listener[i].worker = w;
        const struct serve_socket *from = &w->shared->listen[i];
        w->listener[i].roles = from->roles;
        w->listener[i].name = addr_is_unix(&from->at)
                                  ? os_base_name(from->at.u.local.path)
                                  : NULL;
        w->listener[i].io.fd = from->fd;
        w->listener[i].io.fn = on_client;
    }
    w->accept_again.fn = on_accept_again;
    listen_to_all(w, true);
    return 0;
}

int serve_worker_check(const struct conf *c, struct err *e)
{
    struct serve_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory");
    w->conf = c;
    int rc = loop_new(&w->loop, NULL, e) == 0 &&
                     dns_open_conf(&w->dns, w->loop, c, e) == 0 &&
                     local_open(&w->local, &c->local, e) == 0 &&
                     open_relay(&w->relay, c, e) == 0
                 ? 0
                 : -1;
    relay_close(&w->relay);
    local_close(&w->local);
    dns_close(&w->dns);
    loop_free(&w->loop);
    free(w);
    return rc;
}

static void serve_worker_close(struct serve_worker *w)
{
    struct list *l;

    while ((l = list_pop(&w->sessions)) != NULL) {
        struct serve_session *s = serve_session_of_link(l);
        serve_session_free(&s);
    }
    bury_dead(w);
    serve_commit_close(&w->commit);
    relay_close(&w->relay);
    local_close(&w->local);
    user_asker_free(&w->users);
    dns_close(&w->dns);
    conn_env_done(&w->env);
    pool_free(&w->bodies);
    loop_free(&w->loop);
    tls_context_free(&w->sessions_env.tls);
    serve_env_close(&w->sessions_env);
}

/* All is open but segments and sockets for the DNS. */
static void confine(const struct conf *c)
{
    struct sandbox_paths paths = { .queue_dir = c->queue_dir };
    struct sandbox_report report;

    for (size_t i = 0; i < c->dns.servers.n && i < SANDBOX_PORTS_MAX; i++)
        paths.dns_port[paths.ndns++] = addr_port(&c->dns.servers.item[i]);
    if (paths.ndns == 0)
        paths.dns_port[paths.ndns++] = DNS_PORT;
    sandbox_enter(SANDBOX_WORKER, &paths, &report);
    log_sandbox(&report);
}

void serve_worker_main(const struct serve_shared *shared, unsigned row,
                       int line)
{
    struct serve_worker *w = calloc(1, sizeof *w);
    struct err e = { ERR_TEMP, 0, "no memory" };
    int status = EX_TEMPFAIL;

    if (w == NULL)
        goto out;
    w->conf = shared->conf;
    w->shared = shared;
    w->tickets = shared->tickets;
    w->row = row;
    w->line_io.fd = line;
    list_init(&w->sessions);
    list_init(&w->dead);
    if (serve_worker_open(w, &e) == 0) {
        confine(w->conf);
        serve(w);
        status = EX_OK;
    }
    serve_worker_close(w);
out:
    if (status != EX_OK)
        log_err(LOG_ERROR, "serve.worker", &e);
    free(w);
    log_close();
    _exit(status);
}
