/* master.c - drop privileges, keep the workers alive. */
#include "serve/master.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/handdown.h"
#include "base/line.h"
#include "base/os.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/stop.h"
#include "base/title.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "recipient/user_helper.h"
#include "serve/certificates.h"
#include "serve/worker.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

struct process {
    struct child worker, helper;
    struct loop_io line; /* to the worker; fd -1: none */
    struct master *master;
};

struct master {
    struct serve_shared shared;
    struct loop *loop;
    struct loop_io signal_io, line_io;
    unsigned first_row; /* in the table of clients */
    struct process process[SERVE_WORKERS_MAX];
    unsigned nworkers;
    bool helpers; /* wanted: users are those of the system */
    uid_t only;   /* for them */
    bool draining;
    uint32_t certificates; /* a sum of those that were logged */
};

static bool must_stop(void)
{
    return signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

static void close_sockets(struct master *m)
{
    for (size_t i = 0; i < m->shared.nlisten; i++)
        close(m->shared.listen[i].fd);
    m->shared.nlisten = 0;
}

/* --- workers ---------------------------------------------------------- */

static void close_lines(struct master *m)
{
    for (unsigned i = 0; i < m->nworkers; i++)
        if (m->process[i].line.fd >= 0)
            close(m->process[i].line.fd);
    close(m->line_io.fd);
}

/* Close in the worker whatever of the master it does not share. */
static void become_worker(struct master *m, unsigned i, int line)
{
    close_lines(m);
    loop_free(&m->loop);
    title_set("worker %u", i + 1);
    serve_worker_main(&m->shared, m->first_row + i, line);
}

static void start_worker(struct master *m, unsigned i)
{
    struct process *p = &m->process[i];
    struct err e;
    int end;

    clients_open_row(m->shared.clients, m->first_row + i);
    log_flush();
    pid_t pid = child_fork(&p->worker, &end, &e);
    if (pid == 0)
        become_worker(m, i, end);
    if (pid < 0) {
        log_err(LOG_ERROR, "serve.worker", &e);
        clients_clear_row(m->shared.clients, m->first_row + i);
        return;
    }
    p->line.fd = end;
    p->helper.start_at = 0;
    LOG(LOG_INFO, "serve.worker", LS("state", "started"), LN("pid", pid));
    if (loop_watch(m->loop, &p->line, LOOP_READ, &e) != 0) {
        log_err(LOG_ERROR, "serve.worker", &e);
        kill(pid, SIGKILL);
    }
}

static void log_death(const char *event, pid_t pid, int status)
{
    LOG(LOG_ERROR, event, LS("state", "died"), LN("pid", pid),
        LN("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
        LN("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
}

/* --- user helpers ------------------------------------------------------ */

static void become_helper(struct master *m, int end)
{
    static const struct sandbox_paths no_queue = { .queue_dir = NULL };
    struct sandbox_report report;

    title_set("user helper");
    serve_tickets_forget(&m->shared.tickets);
    loop_free(&m->loop);
    log_close_descriptor();
    child_serve_only(end);
    sandbox_enter(SANDBOX_HELPER, &no_queue, &report);
    log_sandbox(&report);
    log_close();
    _exit(user_helper_run(end, m->only) == 0 ? EX_OK : EX_OSERR);
}

/* A helper that is stuck in a system call is not waited for. */
static void give_up_helper(struct process *p)
{
    if (p->helper.pid == 0)
        return;
    kill(p->helper.pid, SIGKILL);
    child_ended(&p->helper);
}

static void start_helper(struct master *m, struct process *p)
{
    struct err e;
    int end;

    log_flush();
    pid_t pid = child_fork(&p->helper, &end, &e);
    if (pid == 0)
        become_helper(m, end);
    if (pid > 0 && line_send(p->line.fd, SERVE_HELPER, end, &e) != 0)
        give_up_helper(p);
    if (p->helper.pid == 0)
        log_err(LOG_ERROR, "serve.helper", &e);
    else
        LOG(LOG_INFO, "serve.helper", LS("state", "started"), LN("pid", pid));
    if (pid > 0)
        close(end);
}

static void on_worker_line(struct loop_io *io, unsigned ready)
{
    struct process *p = LOOP_ENTRY(io, struct process, line);
    char message[LINE_MAX_TEXT];
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0) {
        if (strcmp(message, SERVE_REPLACE_HELPER) == 0 && p->helper.pid > 0) {
            LOG(LOG_WARN, "serve.helper", LS("state", "replaced"),
                LN("pid", p->helper.pid));
            give_up_helper(p);
        }
        if (fd >= 0)
            close(fd);
    }
    if (rc < 0)
        (void)loop_watch(p->master->loop, io, 0, NULL); /* SIGCHLD follows */
}

/* --- ends -------------------------------------------------------------- */

static void worker_ended(struct master *m, unsigned i, int status)
{
    struct process *p = &m->process[i];
    pid_t pid = p->worker.pid;

    clients_clear_row(m->shared.clients, m->first_row + i);
    (void)loop_watch(m->loop, &p->line, 0, NULL);
    close(p->line.fd);
    p->line.fd = -1;
    child_ended(&p->worker);
    give_up_helper(p);
    if (!must_stop() && !m->draining)
        log_death("serve.worker", pid, status);
}

/* One that ends by itself has lost its worker, whose end is about to be
 * reported: pause, so that a worker that has ended gets no other. */
static void helper_ended(struct process *p, int status)
{
    pid_t pid = p->helper.pid;

    child_ended(&p->helper);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EX_OK) {
        p->helper.start_at = clock_mono_ms() + CHILD_PAUSE_MS;
        LOG(LOG_INFO, "serve.helper", LS("state", "ended"), LN("pid", pid));
    } else if (!must_stop()) {
        log_death("serve.helper", pid, status);
    }
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < m->nworkers; i++)
            if (m->process[i].worker.pid == pid)
                worker_ended(m, i, status);
            else if (m->process[i].helper.pid == pid)
                helper_ended(&m->process[i], status);
}

/* Fork what is due; returns the ms until the next is, or -1.  Old sessions of a
 * master that drains need their helper. */
static long start_missing(struct master *m)
{
    uint64_t now = clock_mono_ms();
    long next = -1;

    for (unsigned i = 0; i < m->nworkers; i++) {
        struct process *p = &m->process[i];
        if (!m->draining && child_is_due(&p->worker, now))
            start_worker(m, i);
        if (p->worker.pid == 0) {
            next = m->draining ? next : child_wait(&p->worker, now, next);
            continue;
        }
        if (m->helpers && child_is_due(&p->helper, now))
            start_helper(m, p);
        next = m->helpers ? child_wait(&p->helper, now, next) : next;
    }
    return next;
}

/* Returns the number of workers that live. */
static unsigned signal_all(const struct master *m, int signo)
{
    unsigned alive = 0;

    for (unsigned i = 0; i < m->nworkers; i++)
        if (m->process[i].worker.pid > 0) {
            kill(m->process[i].worker.pid, signo);
            alive++;
        }
    return alive;
}

/* --- from the supervisor ---------------------------------------------- */

/* Retire all workers: they accept no new clients and end with their last
 * session. */
static void drain(struct master *m)
{
    LOG(LOG_INFO, "serve.drain", LN("workers", m->nworkers));
    m->draining = true;
    close_sockets(m);
    for (unsigned i = 0; i < m->nworkers; i++)
        clients_retire_row(m->shared.clients, m->first_row + i);
    signal_all(m, SIGUSR2);
}

/* Pass a copy of a file on to the workers; workers forked later inherit it. */
static void pass_on(struct master *m, const char *message, int fd)
{
    struct err e;

    for (unsigned i = 0; i < m->nworkers; i++)
        if (m->process[i].worker.pid > 0 &&
            line_send(m->process[i].line.fd, message, fd, &e) != 0)
            log_err(LOG_ERROR, "serve.tables", &e);
}

static void log_certificate(void *ctx, const struct serve_certificate *x)
{
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    bool expired = x->until <= now;
    char day[CLOCK_RFC3339_MAX];

    (void)ctx;
    clock_rfc3339(day, (uint64_t)x->until * 1000000);
    day[sizeof "2026-01-31" - 1] = '\0';
    LOG(expired || x->from > now ? LOG_WARN : LOG_INFO, "serve.certificate",
        LS("file", x->path), LS("expires", day),
        LS("error", expired         ? "expired"
                    : x->from > now ? "not valid yet"
                                    : NULL));
}

static void add_certificate(void *ctx, const struct serve_certificate *x)
{
    uint32_t *sum = ctx;

    *sum = *sum * 31 + x->crc;
}

/* Log the certificates in force, at the start and when others have come. */
static void note_certificates(struct master *m)
{
    const struct conf *c = m->shared.conf;
    uint32_t sum = 0;

    serve_certificates_each(c, add_certificate, &sum);
    if (sum != m->certificates)
        serve_certificates_each(c, log_certificate, NULL);
    m->certificates = sum;
}

static void send_tickets(struct master *m)
{
    char text[SERVE_TICKETS_TEXT];

    serve_tickets_message(text, &m->shared.tickets);
    pass_on(m, text, -1);
}

/* Returns the ms until the next key is due; -1: none ever. */
static long renew_tickets(struct master *m)
{
    struct serve_tickets *t = &m->shared.tickets;
    uint64_t now = clock_mono_ms();

    if (m->shared.conf->serve.tls_cert.n == 0)
        return -1;
    if (serve_tickets_renew(t, now))
        send_tickets(m);
    return (long)(t->renew_at - now);
}

static void on_line(struct loop_io *io, unsigned ready)
{
    struct master *m = LOOP_ENTRY(io, struct master, line_io);
    char message[LINE_MAX_TEXT];
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0) {
        pass_on(m, message, fd);
        if (!handdown_accept(message, fd) && fd >= 0)
            close(fd);
        if (strcmp(message, HANDDOWN_END) == 0)
            note_certificates(m);
        if (strcmp(message, SERVE_DRAIN) == 0 && !m->draining)
            drain(m);
    }
    if (rc < 0)
        (void)loop_watch(m->loop, io, 0, NULL);
}

/* --- from start to end ------------------------------------------------ */

static void on_signal(struct loop_io *io, unsigned ready)
{
    (void)ready;
    os_drain(io->fd);
}

static void wait_for(struct master *m, long ms)
{
    struct err e;

    if (loop_turn(m->loop, (int)ms, &e) < 0) {
        log_err(LOG_ERROR, "serve.loop", &e);
        os_pause(100000); /* loop_turn() failed: avoid a busy loop */
    }
}

static void stop(struct master *m)
{
    uint64_t until = clock_mono_ms() + stop_ms(m->shared.conf->stop_timeout, 1);

    close_sockets(m);
    signal_all(m, SIGTERM);
    while (signal_all(m, 0) > 0) {
        if (clock_mono_ms() >= until)
            signal_all(m, SIGKILL);
        wait_for(m, 100);
        reap(m);
    }
}

static int open_loop(struct master *m, struct err *e)
{
    static const int ours[] = { SIGTERM, SIGINT, SIGCHLD };

    if (loop_new(&m->loop, NULL, e) != 0 ||
        signals_catch(ours, sizeof ours / sizeof ours[0], e) != 0)
        return -1;
    m->signal_io = (struct loop_io){ .fd = signals_fd(), .fn = on_signal };
    m->line_io.fn = on_line;
    return loop_watch(m->loop, &m->signal_io, LOOP_READ, e) != 0
               ? -1
               : loop_watch(m->loop, &m->line_io, LOOP_READ, e);
}

static int set_up(struct master *m, struct err *e)
{
    const struct conf *c = m->shared.conf;

    m->shared.descriptors = (unsigned)os_want_fds(4096);
    if (open_loop(m, e) != 0 || os_drop_privileges(c->user, c->group, e) != 0)
        return -1;
    return log_open(c->queue_dir, (enum log_level)c->log.level,
                    (enum log_format)c->log.format, e);
}

static bool is_over(const struct master *m)
{
    return must_stop() || (m->draining && signal_all(m, 0) == 0);
}

/* Of two waits; -1 is endless. */
static long sooner(long a, long b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void run(struct master *m)
{
    char at[ADDR_PORT_TEXT];

    for (size_t i = 0; i < m->shared.nlisten; i++) {
        const struct serve_socket *l = &m->shared.listen[i];
        addr_port_text(at, &l->at);
        LOG(LOG_INFO, "serve.listen", LS("address", at),
            LS("role", l->roles & CONF_ROLE_TLS ? "tls" : NULL));
    }
    note_certificates(m);
    if (serve_worker_room(&m->shared) < m->shared.conf->serve.max_clients)
        LOG(LOG_WARN, "serve.limits",
            LN("max_clients", serve_worker_room(&m->shared)),
            LN("descriptors", m->shared.descriptors));
    serve_tickets_make(&m->shared.tickets, clock_mono_ms());
    while (!is_over(m)) {
        long next = sooner(renew_tickets(m), start_missing(m));
        log_flush();
        wait_for(m, next);
        reap(m);
    }
    LOG(LOG_INFO, "serve.stop", LN("workers", m->nworkers));
    log_flush();
    stop(m);
}

int serve_tables_new(struct serve_tables *t, struct err *e)
{
    *t = (struct serve_tables){ NULL, NULL };
    return clients_new(&t->clients, SERVE_MASTERS_MAX * SERVE_WORKERS_MAX, e) !=
                   0
               ? -1
               : unknown_new(&t->unknown, e);
}

void serve_tables_free(struct serve_tables *t)
{
    unknown_free(&t->unknown);
    clients_free(&t->clients);
}

int serve_run(const struct serve_options *o, struct err *e)
{
    static struct master m; /* static because it is large */
    int rc = -1;

    m.shared.conf = o->conf;
    m.shared.clients = o->tables->clients;
    m.shared.unknown = o->tables->unknown;
    m.shared.full = o->full;
    for (size_t i = 0; i < o->nlisten; i++)
        if (o->listen[i].fd >= 0)
            m.shared.listen[m.shared.nlisten++] = o->listen[i];
    m.first_row = o->master * SERVE_WORKERS_MAX;
    m.nworkers = (unsigned)o->conf->serve.workers;
    m.line_io.fd = o->line;
    m.helpers = o->conf->local.users.source == CONF_USERS_PASSWD;
    m.only = geteuid() == 0 ? (uid_t)-1 : geteuid();
    for (unsigned i = 0; i < m.nworkers; i++)
        m.process[i] =
            (struct process){ .line = { .fd = -1, .fn = on_worker_line },
                              .master = &m };
    if (set_up(&m, e) == 0) {
        run(&m);
        rc = 0;
    }
    close_sockets(&m);
    loop_free(&m.loop);
    log_close();
    return rc;
}
