/* send.c - the sender's process: set-up, threads, signals, the main loop. */
#include "send/send.h"

#include "base/handdown.h"
#include "base/line.h"
#include "base/os.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/stop.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "queue/handover.h"
#include "queue/held.h"
#include "queue/housekeeping.h"
#include "recipient/resolve.h"
#include "send/assign.h"
#include "send/destination_dns.h"
#include "send/explain.h"
#include "send/lane_state.h"
#include "send/login.h"
#include "send/login_state.h"
#include "send/pace.h"
#include "send/ready.h"
#include "send/route.h"
#include "send/session.h"
#include "send/signing.h"
#include "send/tls_policy.h"
#include "spool/space.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { WANT_FDS = 8192 };

struct back {
    struct loop_io io;
    struct sched *sched;
    struct send_worker *worker;
};

struct sender {
    struct sched s;
    struct housekeeping housekeeping;
    struct loop_io line, signing;
    struct control *control;
    struct back back[SCHED_WORKERS_MAX];
    struct tls_context *tls;
    const struct send_options *o;
    uint64_t started, stop_by; /* ms of the loop */
    bool stopping;
};

/* --- signals ------------------------------------------------------------ --*/

static const int ours[] = { SIGTERM, SIGINT, SIGUSR1 };
enum { NOURS = sizeof ours / sizeof ours[0] };

static bool must_stop(void)
{
    return signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

/* --- what comes back from the workers ----------------------------------- --*/

static void take_note(struct sched *s, struct work_item *n)
{
    if (n->kind == WORK_DELIVERY)
        assign_take_back(s, delivery_of_note(n));
    else if (n->kind == WORK_LEAVE)
        lane_left(s, send_session_lane(send_session_of_leave(n)));
    else
        lane_ended(s, send_session_lane(send_session_of_note(n)));
}

static void on_back(struct loop_io *io, unsigned ready)
{
    struct back *b = LOOP_ENTRY(io, struct back, io);
    struct list notes, *l;

    (void)ready;
    list_init(&notes);
    send_worker_take(b->worker, &notes);
    while ((l = list_pop(&notes)) != NULL)
        take_note(b->sched, LIST_ENTRY(l, struct work_item, link));
}

static void take_unsigned(struct sched *s)
{
    struct list back, *l;

    list_init(&back);
    signing_take(s, &back);
    while ((l = list_pop(&back)) != NULL)
        take_note(s, LIST_ENTRY(l, struct work_item, link));
}

static void on_signed(struct loop_io *io, unsigned ready)
{
    struct sender *x = LOOP_ENTRY(io, struct sender, signing);

    (void)ready;
    take_unsigned(&x->s);
}

/* --- files from the supervisor ------------------------------------------ --*/

static int renew_hosts(struct sched *s, struct err *e)
{
    if (!route_has_settings(s->conf))
        return 0;
    if (dns_hosts_load(&s->hosts, DNS_HOSTS_FILE, e) != 0)
        return -1;
    destination_forget_settings(s);
    return 0;
}

/* Other aliases, users, name servers or hosts.  The supervisor has checked
 * them: a failure is one of memory, and the tables that are there go on. */
static void renew_tables(struct sched *s)
{
    struct local *own = NULL;
    struct err e;

    if (login_state_renew(s, &e) != 0)
        log_err(LOG_ERROR, "send.tables", &e);
    if (local_open(&own, &s->conf->local, &e) != 0 ||
        dns_renew(s->dns, s->conf, &e) != 0 || renew_hosts(s, &e) != 0) {
        log_err(LOG_ERROR, "send.tables", &e);
        local_close(&own);
        return;
    }
    dns_forget_negative(s->dns);
    queue_tables_renewed(&s->queue);
    local_close(&s->local);
    s->local = own;
}

/* An end of the pair with a process that the sender asks. */
static void take_pair(struct sched *s, const char *message, int fd)
{
    if (fd >= 0 && strcmp(message, "pair token") == 0)
        logins_use_pair(s->logins, fd);
    else if (fd >= 0)
        close(fd);
}

static void on_line(struct loop_io *io, unsigned ready)
{
    struct sender *x = LOOP_ENTRY(io, struct sender, line);
    char message[LINE_MAX_TEXT];
    bool renew = false;
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0) {
        bool is_file = handdown_accept(message, fd);
        if (!is_file)
            take_pair(&x->s, message, fd);
        renew |= is_file;
    }
    if (renew)
        renew_tables(&x->s);
    if (rc < 0)
        (void)loop_watch(x->s.loop, io, 0, NULL);
}

static int watch_line(struct sender *x, struct err *e)
{
    x->line = (struct loop_io){ .fd = x->o->line, .fn = on_line };
    return loop_watch(x->s.loop, &x->line, LOOP_READ, e);
}

/* --- threads ------------------------------------------------------------ --*/

static int watch_worker(struct sender *x, unsigned i, struct err *e)
{
    struct back *b = &x->back[i];

    *b = (struct back){ .sched = &x->s, .worker = x->s.worker[i] };
    b->io.fd = send_worker_fd(b->worker);
    b->io.fn = on_back;
    return loop_watch(x->s.loop, &b->io, LOOP_READ, e);
}

static int start_worker(struct sender *x, unsigned i, struct err *e)
{
    const struct conf *c = x->s.conf;
    struct send_worker_options o = { .hostname = c->hostname,
                                     .linger = (unsigned)c->send.session_linger,
                                     .messages =
                                         (unsigned)c->send.session_messages,
                                     .no_chunking = c->send.chunking == 0,
                                     .tls = x->tls,
                                     .max_sessions = SCHED_SESSIONS_MAX };
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for main */
    int rc = send_worker_start(&x->s.worker[i], &o, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? watch_worker(x, i, e) : -1;
}

static int start_workers(struct sender *x, struct err *e)
{
    const struct conf *c = x->s.conf;
    unsigned n = (unsigned)c->send.workers;

    n = n > SCHED_WORKERS_MAX ? SCHED_WORKERS_MAX : n;
    for (unsigned i = 0; i < n; i++)
        if (start_worker(x, i, e) != 0)
            return -1;
    x->s.nworkers = n;
    return 0;
}

static int start_signing(struct sender *x, struct err *e)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = signing_open(&x->s, x->o->signer, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0 || signing_fd(&x->s) < 0)
        return rc;
    x->signing = (struct loop_io){ .fd = signing_fd(&x->s), .fn = on_signed };
    return loop_watch(x->s.loop, &x->signing, LOOP_READ, e);
}

static void end_signing(struct sender *x)
{
    signing_end(&x->s);
    take_unsigned(&x->s);
    if (x->signing.fd >= 0)
        (void)loop_watch(x->s.loop, &x->signing, 0, NULL);
}

static void end_workers(struct sender *x)
{
    for (unsigned i = 0; i < SCHED_WORKERS_MAX; i++)
        if (x->s.worker[i] != NULL) {
            send_worker_join(x->s.worker[i]);
            if (x->back[i].worker != NULL)
                on_back(&x->back[i].io, LOOP_READ);
        }
}

static void free_workers(struct sender *x)
{
    for (unsigned i = 0; i < SCHED_WORKERS_MAX; i++) {
        if (x->back[i].worker != NULL)
            (void)loop_watch(x->s.loop, &x->back[i].io, 0, NULL);
        send_worker_free(&x->s.worker[i]);
    }
}

static int check_workers(struct sender *x, struct err *e)
{
    for (unsigned i = 0; i < x->s.nworkers; i++)
        if (send_worker_failed(x->s.worker[i], e))
            return -1;
    return 0;
}

/* --- a turn ------------------------------------------------------------- --*/

static void make_due(struct list *due)
{
    struct list *l;

    while ((l = list_pop(due)) != NULL)
        destination_add(LIST_ENTRY(l, struct rcpt, link));
}

static void take_due(struct sched *s)
{
    struct list due;

    list_init(&due);
    retry_queue_due(&s->queue.memory.retry, sched_seconds(s), &due);
    make_due(&due);
}

/* SIGUSR1, and the begin of a drain: everything is due, and no peer is
 * avoided for what it did before. */
static void flush_queue(struct sched *s)
{
    struct list due;

    list_init(&due);
    sched_forget_faults(s);
    retry_queue_flush(&s->queue.memory.retry, &due);
    make_due(&due);
    held_release(&s->queue);
}

static bool is_busy(const struct sched *s)
{
    return ready_any(s) || !list_empty(&s->destination.lookups.line) ||
           !list_empty(&s->lane.opening) ||
           !list_empty(&s->queue.notice.deliveries) ||
           s->destination.lookups.running > 0 || s->lane.deliveries > 0 ||
           s->queue.scan.wanted || logins_busy(s->logins) ||
           lane_state_any_awaited(s) || pace_any_awaited(s);
}

static int wait_ms(struct sender *x)
{
    struct sched *s = &x->s;
    uint64_t ms = housekeeping_wait(&x->housekeeping, &s->queue);
    uint64_t next = retry_queue_next(&s->queue.memory.retry) * (uint64_t)1000;

    if (ready_any(s))
        return 0;
    if (!x->o->once && next < ms)
        ms = next;
    if (x->stopping && ms > 100)
        ms = 100;
    return (int)(ms < 60000 ? ms : 60000);
}

static int turn(struct sender *x, struct err *e)
{
    struct sched *s = &x->s;

    if (loop_turn(s->loop, wait_ms(x), e) < 0 || check_workers(x, e) != 0)
        return -1;
    bool flush = signals_take(SIGUSR1) > 0;
    if (flush)
        s->queue.scan.wanted = true; /* mail not scanned yet is due as well */
    if (housekeeping_run(&x->housekeeping, &s->queue, e) != 0)
        return -1;
    destination_sweep(s);
    if (flush)
        flush_queue(s);
    if (!x->o->once)
        take_due(s);
    assign_work(s);
    if (signing_is_short(s))
        take_unsigned(s);
    queue_flush(&s->queue);
    signing_hand_over(s);
    for (unsigned i = 0; i < s->nworkers; i++)
        send_worker_hand_over(s->worker[i]);
    log_flush();
    return 0;
}

/* --- the whole ---------------------------------------------------------- --*/

/* Now or later there is something to do for the mail of the queue. */
static bool has_work(const struct sched *s)
{
    return s->queue.memory.pending > 0 || s->queue.scan.incomplete ||
           s->queue.scan.unread != NULL ||
           !list_empty(&s->queue.slot.unwritten);
}

static bool is_over(struct sender *x)
{
    const struct send_options *o = x->o;
    uint64_t ms = loop_now(x->s.loop) - x->started;

    if (must_stop())
        return true;
    if (o->drain && o->drain_timeout > 0 &&
        ms >= (uint64_t)o->drain_timeout * 1000)
        return true;
    if ((!o->once && !o->drain) || is_busy(&x->s))
        return false;
    return o->once || !has_work(&x->s);
}

/* Let sessions finish their transactions, then end them. */
static int wind_down(struct sender *x, struct err *e)
{
    struct sched *s = &x->s;

    s->stopping = x->stopping = true;
    x->stop_by = loop_now(s->loop) + stop_ms(s->conf->stop_timeout, 0);
    for (unsigned i = 0; i < s->nworkers; i++)
        send_worker_stop(s->worker[i]);
    signing_stop(s);
    while ((s->lane.sessions > 0 || s->lane.deliveries > 0) &&
           loop_now(s->loop) < x->stop_by)
        if (turn(x, e) != 0)
            return -1;
    return 0;
}

static int work_until_over(struct sender *x, struct err *e)
{
    struct err why;

    x->started = loop_now(x->s.loop);
    x->s.queue.scan.wanted = true;
    LOG(LOG_INFO, "send.start", LN("workers", x->s.nworkers));
    if (spool_space_warn(x->s.conf->queue_dir, &why) != 0)
        log_err(LOG_WARN, "queue.disk", &why);
    if (turn(x, e) != 0)
        return -1;
    x->s.queue.scan.closed = x->o->once;
    if (x->o->drain)
        flush_queue(&x->s);
    while (!is_over(x))
        if (turn(x, e) != 0)
            return -1;
    return wind_down(x, e);
}

/* Mail does not wait for it. */
static void open_control(struct sender *x)
{
    struct err e;

    if (explain_open(&x->control, &x->s, &e) != 0)
        log_err(LOG_WARN, "send.control", &e);
}

/* Without authorities mail waits that demands a verified host, and no other. */
static int open_tls(struct sender *x, const struct conf *c, struct err *e)
{
    const char *ca = c->send.tls_ca[0] != '\0' ? c->send.tls_ca : NULL;
    struct err why;

    if (!tls_policy_needs_tls(c))
        return 0;
    if (tls_client_new(&x->tls, e) != 0)
        return -1;
    if (tls_client_trust(x->tls, ca, &why) != 0)
        log_err(LOG_ERROR, "send.tls_ca", &why);
    return 0;
}

static int run(struct sender *x, const struct conf *c,
               const sigset_t *wait_mask, struct err *e)
{
    const struct sandbox_paths paths = { .queue_dir = c->queue_dir };
    struct sandbox_report report;
    int rc = -1;

    if (sched_open(&x->s, c, wait_mask, e) != 0 || open_tls(x, c, e) != 0)
        goto out;
    login_state_attach(&x->s);
    open_control(x);
    sandbox_enter(route_has_unix(c) ? SANDBOX_SENDER_UNIX : SANDBOX_SENDER,
                  &paths, &report);
    log_sandbox(&report);
    if (housekeeping_watch(&x->housekeeping, &x->s.queue, e) != 0 ||
        start_workers(x, e) != 0 || start_signing(x, e) != 0 ||
        watch_line(x, e) != 0)
        goto out;
    rc = work_until_over(x, e);
    LOG(LOG_INFO, "send.stop", LN("pending", x->s.queue.memory.pending),
        LN("held", x->s.queue.held.n));
out:
    x->s.stopping = true;
    control_close(&x->control);
    end_signing(x);
    end_workers(x);
    queue_finish(&x->s.queue);
    if (rc == 0 && (has_work(&x->s) || x->s.queue.held.n > 0))
        rc = 1;
    free_workers(x);
    signing_free(&x->s);
    sched_close(&x->s);
    tls_context_free(&x->tls);
    log_close();
    return rc;
}

static int become_ourselves(const struct conf *c, struct err *e)
{
    static const enum log_level levels[] = { LOG_DEBUG, LOG_INFO, LOG_WARN,
                                             LOG_ERROR };

    if (os_drop_privileges(c->user, c->group, e) != 0)
        return -1;
    os_want_fds(WANT_FDS);
    return log_open(c->queue_dir, levels[c->log.level],
                    c->log.format == CONF_LOG_JSON ? LOG_JSON : LOG_TEXT, e);
}

int send_run(const struct conf *c, const struct send_options *o, struct err *e)
{
    static struct sender sender; /* large; one per process */
    sigset_t before, wait_mask;

    if (become_ourselves(c, e) != 0)
        return -1;
    sender = (struct sender){ .o = o, .signing = { .fd = -1 } };
    signals_block(ours, NOURS, &before, &wait_mask);
    int rc = signals_catch(ours, NOURS, e);
    if (rc == 0)
        rc = run(&sender, c, &wait_mask, e);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}
