/* master.c - open the sockets, drop privileges, keep the workers alive. */
#include "serve/master.h"

#include "base/clock.h"
#include "base/os.h"
#include "base/signals.h"
#include "log/log.h"
#include "net/listen.h"
#include "serve/worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORKERS_MAX = 256, /* as serve.workers */
    RETIRED_MAX = 256, /* workers of before a reload */
    BACKLOG = 1024,
    QUICK_DEATH_MS = 1000, /* younger: something is wrong, wait a little */
    STOP_WITHIN_MS = 35000
};

struct child {
    pid_t pid;               /* 0: none */
    uint64_t born, start_at; /* ms, monotonic */
    unsigned row;            /* in the table of clients */
};

struct master {
    struct serve_shared shared;
    struct conf conf[2]; /* in force, and the one a reload fills */
    unsigned current;
    struct child child[WORKERS_MAX], old[RETIRED_MAX];
    unsigned nworkers, next_old; /* the place in old that is used next */
    serve_reload_fn *reload;
    void *reload_ctx;
};

static bool must_stop(void)
{
    return signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

static void close_sockets(struct master *m)
{
    for (size_t i = 0; i < m->shared.nlisten; i++)
        close(m->shared.listen_fd[i]);
    m->shared.nlisten = 0;
}

static int listen_at(const struct addr *a, uint64_t *until, struct err *e)
{
    int fd;

    do
        fd = net_listen(a, BACKLOG, e);
    while (fd < 0 && e->sys == EADDRINUSE && os_again(until));
    return fd;
}

static int open_sockets(struct master *m, struct err *e)
{
    const struct conf_listeners *l = &m->shared.conf->serve.listen;
    uint64_t until = 0; /* one patience for all of them */

    if (l->n > LISTEN_MAX)
        return err_set(e, ERR_USAGE, 0, "serve.listen: more than %d addresses",
                       LISTEN_MAX);
    for (size_t i = 0; i < l->n; i++) {
        int fd = listen_at(&l->item[i].addr, &until, e);
        /* A host without IPv6 still serves its IPv4. */
        if (fd < 0 && e->sys == EAFNOSUPPORT && l->n > 1)
            continue;
        if (fd < 0)
            return -1;
        m->shared.listen_fd[m->shared.nlisten++] = fd;
    }
    return m->shared.nlisten > 0
               ? 0
               : err_set(e, ERR_USAGE, 0, "serve.listen: nothing to listen on");
}

static bool row_is_free(const struct master *m, unsigned row)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (m->child[i].pid > 0 && m->child[i].row == row)
            return false;
    for (unsigned i = 0; i < RETIRED_MAX; i++)
        if (m->old[i].pid > 0 && m->old[i].row == row)
            return false;
    return true;
}

static void start_worker(struct master *m, unsigned i)
{
    struct child *c = &m->child[i];

    for (c->row = 0; !row_is_free(m, c->row);)
        c->row++; /* there are as many as children and old ones */
    clients_open_row(m->shared.clients, c->row);
    log_flush();
    pid_t pid = os_fork();
    if (pid == 0)
        worker_main(&m->shared, c->row);
    c->born = clock_mono_ms();
    c->pid = pid < 0 ? 0 : pid;
    c->start_at = c->born + QUICK_DEATH_MS;
    if (pid < 0)
        LOG(LOG_ERROR, "serve.worker", LS("error", strerror(errno)));
    else
        LOG(LOG_INFO, "serve.worker", LS("state", "started"), LN("pid", pid));
}

static void note_old_death(struct master *m, pid_t pid)
{
    for (unsigned i = 0; i < RETIRED_MAX; i++)
        if (m->old[i].pid == pid) {
            clients_clear_row(m->shared.clients, m->old[i].row);
            m->old[i].pid = 0;
        }
}

static void note_death(struct master *m, pid_t pid, int status)
{
    note_old_death(m, pid);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        if (m->child[i].pid != pid)
            continue;
        clients_clear_row(m->shared.clients, m->child[i].row);
        struct child *c = &m->child[i];
        uint64_t now = clock_mono_ms();
        c->pid = 0;
        c->start_at =
            now - c->born < QUICK_DEATH_MS ? now + QUICK_DEATH_MS : now;
        if (!must_stop())
            LOG(LOG_ERROR, "serve.worker", LS("state", "died"), LN("pid", pid),
                LN("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
                LN("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
    }
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        note_death(m, pid, status);
}

/* Returns the ms until the next start is due, or -1. */
static long start_missing(struct master *m)
{
    uint64_t now = clock_mono_ms();
    long next = -1;

    for (unsigned i = 0; i < m->nworkers; i++) {
        struct child *c = &m->child[i];
        if (c->pid == 0 && c->start_at <= now)
            start_worker(m, i);
        if (c->pid != 0)
            continue;
        long wait = (long)(c->start_at - now); /* also if fork() failed */
        next = next < 0 || wait < next ? wait : next;
    }
    return next;
}

static unsigned tell(const struct child *c, unsigned n, int signo)
{
    unsigned alive = 0;

    for (unsigned i = 0; i < n; i++)
        if (c[i].pid > 0) {
            kill(c[i].pid, signo);
            alive++;
        }
    return alive;
}

static unsigned signal_all(const struct master *m, int signo)
{
    return tell(m->child, WORKERS_MAX, signo) +
           tell(m->old, RETIRED_MAX, signo);
}

/* It takes no new clients.  If there is no place for it, the one that has
 * been retired longest has had its time. */
static void retire(struct master *m, struct child *c)
{
    struct child *place = &m->old[m->next_old++ % RETIRED_MAX];

    for (unsigned i = 0; i < RETIRED_MAX && place->pid > 0; i++)
        place = &m->old[m->next_old++ % RETIRED_MAX];
    if (place->pid > 0)
        kill(place->pid, SIGKILL);
    clients_retire_row(m->shared.clients, c->row);
    kill(c->pid, SIGUSR2);
    *place = *c;
}

/* New workers with the new settings; the old keep the clients they have. */
static void reload(struct master *m)
{
    struct conf *next = &m->conf[1 - m->current];
    struct err e;

    conf_free(next);
    if (m->reload == NULL || m->reload(m->reload_ctx, next, &e) != 0 ||
        worker_check(next, &e) != 0) {
        log_err(LOG_ERROR, "serve.reload", &e);
        return;
    }
    m->current = 1 - m->current;
    m->shared.conf = next;
    LOG(LOG_INFO, "serve.reload", LN("workers", next->serve.workers));
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (m->child[i].pid > 0)
            retire(m, &m->child[i]);
    memset(m->child, 0, sizeof m->child);
    m->nworkers = (unsigned)next->serve.workers;
}

static void stop(struct master *m)
{
    uint64_t until = clock_mono_ms() + STOP_WITHIN_MS;

    close_sockets(m);
    signal_all(m, SIGTERM);
    while (signal_all(m, 0) > 0) {
        if (clock_mono_ms() >= until)
            signal_all(m, SIGKILL);
        os_await(signals_fd(), 200);
        reap(m);
    }
}

static int set_up(struct master *m, struct err *e)
{
    static const int ours[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
    const struct conf *c = m->shared.conf;

    m->shared.descriptors = (unsigned)os_want_fds(4096);
    /* Before a client can see that the server is there. */
    if (signals_catch(ours, sizeof ours / sizeof ours[0], e) != 0 ||
        open_sockets(m, e) != 0 ||
        clients_new(&m->shared.clients, WORKERS_MAX + RETIRED_MAX, e) != 0 ||
        unknown_new(&m->shared.unknown, e) != 0 ||
        os_drop_privileges(c->user, c->group, e) != 0 ||
        worker_check(c, e) != 0)
        return -1;
    if (log_open(c->queue_dir, (enum log_level)c->log.level,
                 (enum log_format)c->log.format, e) != 0)
        return -1;
    return 0;
}

static void run(struct master *m)
{
    char at[ADDR_PORT_TEXT];

    for (size_t i = 0; i < m->shared.conf->serve.listen.n; i++) {
        addr_port_text(at, &m->shared.conf->serve.listen.item[i].addr);
        LOG(LOG_INFO, "serve.listen", LS("address", at));
    }
    if (worker_room(&m->shared) < m->shared.conf->serve.max_clients)
        LOG(LOG_WARN, "serve.limits",
            LN("max_clients", worker_room(&m->shared)),
            LN("descriptors", m->shared.descriptors));
    while (!must_stop()) {
        if (signals_take(SIGHUP) > 0)
            reload(m);
        reap(m);
        long next = start_missing(m);
        log_flush();
        os_await(signals_fd(), next);
    }
    LOG(LOG_INFO, "serve.stop", LN("workers", m->nworkers));
    log_flush();
    stop(m);
}

int serve_run(const struct conf *c, serve_reload_fn *reload_fn, void *ctx,
              struct err *e)
{
    static struct master m; /* large, and there is one */
    int rc = -1;

    m.shared.conf = c;
    m.nworkers = (unsigned)c->serve.workers;
    m.reload = reload_fn;
    m.reload_ctx = ctx;
    if (set_up(&m, e) == 0) {
        run(&m);
        rc = 0;
    }
    close_sockets(&m);
    unknown_free(&m.shared.unknown);
    clients_free(&m.shared.clients);
    conf_free(&m.conf[0]);
    conf_free(&m.conf[1]);
    log_close();
    return rc;
}
