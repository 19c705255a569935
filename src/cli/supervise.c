#include "cli/supervise.h"

#include "base/clock.h"
#include "base/line.h"
#include "base/notify.h"
#include "base/os.h"
#include "base/signals.h"
#include "base/stop.h"
#include "base/title.h"
#include "control/server.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    /* Pause before the restart of a process that died younger. */
    YOUNG_MS = 2000 + OS_PATIENCE_MS,
    AGAIN_MS = 1000,
    LAST_AGAIN_MS = 50, /* of the collector, for which mail waits */
    WATCH_MS = 2000
};

struct process {
    const struct service *service;
    pid_t pid; /* 0: not running */
    unsigned generation;
    uint64_t born, start_at;
    uint64_t stop_at, kill_at; /* SIGTERM, SIGKILL; 0: not */
    int line;                  /* -1: none */
    bool was_up;               /* ran longer than a failed start */
    bool behind;               /* a change could not be sent yet */
};

struct supervisor {
    const struct supervise *plan;
    struct loop *loop;
    struct loop_io signal_io;
    struct control *control;
    bool no_control; /* the socket cannot be made, or is not for this one */
    /* Of each service: the current generation and the one before it. */
    struct process now[SUPERVISE_MAX], old[SUPERVISE_MAX];
    unsigned generation;
    uint64_t began, watch_at;
    bool waiting; /* settings wait for the end of the old generation */
    bool stopping;
    int status; /* exit status of the supervisor; -1: it goes on */
};

static uint64_t stop_within(const struct supervisor *v, unsigned steps)
{
    return stop_ms(v->plan->stop_timeout(v->plan->ctx), steps);
}

/* --- the manager of services ---------------------------------------------- */

static void note_state(const char *lines)
{
    struct err e;

    if (notify_send(lines, &e) != 0)
        fprintf(stderr, "mta: %s\n", e.text);
}

/* --- starting and ending ------------------------------------------------- */

static void close_line(struct process *p)
{
    if (p->line >= 0)
        close(p->line);
    p->line = -1;
}

static void become_child(struct supervisor *v, const struct service *s,
                         int line)
{
    setpgid(0, 0);
    for (size_t i = 0; i < v->plan->n; i++) {
        close_line(&v->now[i]);
        close_line(&v->old[i]);
    }
    control_forget(&v->control);
    loop_free(&v->loop);
    v->plan->in_child(v->plan->ctx, s);
    int status = s->run(v->plan->ctx, line);
    fflush(NULL);
    _exit(status);
}

/* Fork the collector with signals blocked, because SIGTERM would kill it before
 * its handlers are set; the collector unblocks them. */
static pid_t fork_last(void)
{
    sigset_t ends, old;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, &old);
    pid_t pid = os_fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static void connect_pair(const struct process *helper,
                         const struct process *asker)
{
    char text[64];
    struct err e;
    int end[2];

    snprintf(text, sizeof text, SUPERVISE_PAIR " %s", helper->service->name);
    if (line_pair(end, &e) != 0) {
        fprintf(stderr, "mta: %s\n", e.text);
        return;
    }
    if ((line_send(helper->line, SUPERVISE_PAIR, end[0], &e) != 0 ||
         line_send(asker->line, text, end[1], &e) != 0) &&
        e.sys != EPIPE) /* it has ended, and gets another at its start */
        fprintf(stderr, "mta: %s: %s\n", helper->service->name, e.text);
    close(end[0]);
    close(end[1]);
}

/* Connect a process that has started with those that it serves, and those that
 * serve it. */
static void connect_pairs(const struct supervisor *v, const struct process *p)
{
    const struct service *own = p->service;

    for (size_t i = 0; i < v->plan->n; i++) {
        const struct process *o = &v->now[i];
        const struct service *other = o->service;
        if (o->pid == 0)
            continue;
        if (own->serves != NULL && strcmp(own->serves, other->name) == 0)
            connect_pair(p, o);
        if (other->serves != NULL && strcmp(other->serves, own->name) == 0)
            connect_pair(o, p);
    }
}

static void start(struct supervisor *v, struct process *p)
{
    const struct service *s = p->service;
    struct err e;
    int end[2];

    p->born = clock_mono_ms();
    p->start_at = p->born + AGAIN_MS;
    if (s->wanted != NULL && !s->wanted(v->plan->ctx))
        return;
    if (line_pair(end, &e) != 0) {
        fprintf(stderr, "mta: start %s: %s\n", s->name, e.text);
        return;
    }
    fflush(NULL);
    pid_t pid = s->last ? fork_last() : os_fork();
    if (pid == 0) {
        close(end[0]);
        become_child(v, s, end[1]);
    }
    close(end[1]);
    if (pid < 0) {
        fprintf(stderr, "mta: start %s: %s\n", s->name, strerror(errno));
        close(end[0]);
        return;
    }
    setpgid(pid, pid); /* parent and child both call it, in either order */
    p->pid = pid;
    p->line = end[0];
    p->behind = false;
    p->generation = v->generation;
    p->stop_at = p->kill_at = 0;
    connect_pairs(v, p);
}

/* Returns the exit status of the supervisor, or -1 to go on. */
static int note_end(const struct supervisor *v, struct process *p, int status)
{
    uint64_t now = clock_mono_ms();
    bool young = now - p->born < YOUNG_MS;
    const struct service *s = p->service;

    p->start_at = !young ? now : now + (s->last ? LAST_AGAIN_MS : AGAIN_MS);
    if (v->stopping)
        return -1;
    if (WIFEXITED(status) &&
        (s->ends || (young && !p->was_up && WEXITSTATUS(status) != 0)))
        return WEXITSTATUS(status);
    p->was_up = true;
    if (WIFSIGNALED(status))
        fprintf(stderr, "mta: %s died of signal %d; starting it again\n",
                s->name, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "mta: %s ended with status %d; starting it again\n",
                s->name, WEXITSTATUS(status));
    return -1;
}

static void reap(struct supervisor *v)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < v->plan->n; i++) {
            struct process *p = &v->now[i], *old = &v->old[i];
            if (old->pid == pid) {
                old->pid = 0;
                close_line(old);
                p->start_at = 0; /* it may have waited for log.lock */
            } else if (p->pid == pid) {
                p->pid = 0;
                close_line(p);
                int code = note_end(v, p, status);
                v->status = code >= 0 ? code : v->status;
            }
        }
}

/* --- generations --------------------------------------------------------- */

static bool has_old(const struct supervisor *v)
{
    for (size_t i = 0; i < v->plan->n; i++)
        if (v->old[i].pid > 0)
            return true;
    return false;
}

static void send_changes(struct supervisor *v, struct process *p)
{
    struct err e;

    if (p->pid == 0 || p->service->send == NULL)
        return;
    p->behind = p->service->send(v->plan->ctx, p->line, &e) != 0;
    if (!p->behind && p->service->last)
        kill(p->pid, SIGHUP);
}

/* Retire the current generation of a service, and start the next. */
static void retire(struct supervisor *v, size_t i)
{
    struct process *p = &v->now[i], *old = &v->old[i];
    struct err e;

    *old = *p;
    p->pid = 0;
    p->line = -1;
    p->was_up = true;
    p->start_at = 0;
    if (old->pid == 0)
        return;
    if (old->service->drain != NULL) {
        start(v, p);
        if (line_send(old->line, old->service->drain, -1, &e) == 0)
            return;
    }
    old->stop_at = clock_mono_ms();
}

/* Adopt the checked settings if only one generation runs; otherwise wait for
 * the end of the old one. */
static void adopt(struct supervisor *v)
{
    if (!v->waiting)
        return;
    if (has_old(v)) {
        uint64_t at = clock_mono_ms() + stop_within(v, 0);
        for (size_t i = 0; i < v->plan->n; i++)
            if (v->old[i].stop_at == 0 && v->old[i].kill_at == 0)
                v->old[i].stop_at = at;
        return;
    }
    v->waiting = false;
    v->generation++;
    bool log_too = v->plan->adopt(v->plan->ctx);
    for (size_t i = 0; i < v->plan->n; i++)
        if (!v->now[i].service->last)
            retire(v, i);
        else if (log_too)
            send_changes(v, &v->now[i]);
    v->plan->report(v->plan->ctx, v->generation, NULL);
}

/* To the processes of both generations. */
static void send_to(struct supervisor *v, int changed)
{
    for (size_t i = 0; i < v->plan->n; i++) {
        struct process *both[] = { &v->now[i], &v->old[i] };
        int bit = v->now[i].service->last ? SUPERVISE_LAST : SUPERVISE_OTHERS;
        for (size_t k = 0; k < 2; k++)
            if (both[k]->behind || (changed & bit))
                send_changes(v, both[k]);
    }
}

static int reload_settings(struct supervisor *v, struct err *e)
{
    v->plan->reopen(v->plan->ctx);
    send_to(v, SUPERVISE_LAST); /* before lines go to a file that is renamed */
    int changed = v->plan->check(v->plan->ctx, e);
    send_to(v, changed > 0 ? changed : 0);
    if (changed < 0) {
        fprintf(stderr, "mta: reload: nothing has changed: %s\n", e->text);
        v->plan->report(v->plan->ctx, v->generation, e);
        return -1;
    }
    v->waiting = (changed & SUPERVISE_NEXT) != 0;
    if (v->waiting)
        adopt(v);
    else
        v->plan->report(v->plan->ctx, v->generation, NULL);
    return 0;
}

/* A reload that fails, too, leaves the service ready. */
static int reload(struct supervisor *v, struct err *e)
{
    struct err ignored;

    (void)notify_reloading(&ignored); /* READY=1 reports a failure */
    int rc = reload_settings(v, e);
    note_state("READY=1");
    return rc;
}

static void keep_deadlines(struct supervisor *v)
{
    uint64_t now = clock_mono_ms();

    for (size_t i = 0; i < v->plan->n; i++) {
        struct process *p = &v->old[i];
        if (p->pid == 0)
            continue;
        if (p->stop_at != 0 && now >= p->stop_at) {
            kill(p->pid, SIGTERM);
            p->stop_at = 0;
            p->kill_at = now + stop_within(v, 2);
        }
        if (p->kill_at != 0 && now >= p->kill_at)
            kill(-p->pid, SIGKILL);
    }
}

/* --- the control socket -------------------------------------------------- */

static void add_status(struct buf *answer, const struct process *p,
                       const char *state)
{
    if (p->pid > 0)
        control_add(answer, "%s pid=%ld generation=%u age=%llu state=%s",
                    p->service->name, (long)p->pid, p->generation,
                    (unsigned long long)(clock_mono_ms() - p->born) / 1000,
                    state);
}

static int on_command(void *ctx, struct control_call *call, struct buf *answer,
                      struct err *e)
{
    struct supervisor *v = ctx;
    const char *command = call->command;

    if (strcmp(command, "reload") == 0)
        return reload(v, e);
    if (strcmp(command, "status") != 0)
        return err_set(e, ERR_USAGE, 0, "no command '%.40s'", command);
    control_add(answer, "supervisor pid=%ld generation=%u age=%llu state=%s",
                (long)getpid(), v->generation,
                (unsigned long long)(clock_mono_ms() - v->began) / 1000,
                v->waiting ? "reload-waits" : "running");
    for (size_t i = 0; i < v->plan->n; i++) {
        add_status(answer, &v->now[i], "running");
        add_status(answer, &v->old[i], "ending");
    }
    return 0;
}

static bool has_end(const struct supervisor *v)
{
    for (size_t i = 0; i < v->plan->n; i++)
        if (v->plan->service[i].ends)
            return true;
    return false;
}

/* Open the control socket; if another supervisor of the queue has it, try
 * again from time to time.  A process tree that ends by itself leaves it to
 * others. */
static void open_control(struct supervisor *v)
{
    const struct control_service service = { "control", on_command, NULL, v };
    struct err e;

    if (v->control != NULL || v->no_control)
        return;
    if ((v->plan->as_user(v->plan->ctx, &e) != 0 ||
         control_listen(&v->control, v->loop, v->plan->queue_dir, &service,
                        &e) != 0) &&
        e.sys != EWOULDBLOCK) {
        fprintf(stderr, "mta: no control socket: %s\n", e.text);
        v->no_control = true;
    }
    v->plan->as_started(v->plan->ctx);
}

/* --- from time to time --------------------------------------------------- */

static void kill_stuck(struct supervisor *v)
{
    for (size_t i = 0; i < v->plan->n; i++) {
        struct process *p = &v->now[i];
        const struct service *s = p->service;
        if (p->pid == 0 || s->stuck == NULL || !s->stuck(v->plan->ctx))
            continue;
        fprintf(stderr, "mta: %s hangs; starting it again\n", s->name);
        kill(-p->pid, SIGKILL);
    }
}

static void watch(struct supervisor *v)
{
    uint64_t now = clock_mono_ms();
    struct err e;

    if (now < v->watch_at)
        return;
    v->watch_at = now + WATCH_MS;
    kill_stuck(v);
    int rc = v->plan->watch(v->plan->ctx, &e);
    if (rc < 0) {
        fprintf(stderr, "mta: %s\n", e.text);
        v->plan->report(v->plan->ctx, v->generation, &e);
    }
    send_to(v, rc > 0 ? rc : 0);
    if (rc > 0 && (rc & SUPERVISE_OTHERS))
        v->plan->report(v->plan->ctx, v->generation, NULL);
    open_control(v);
}

/* --- stopping ------------------------------------------------------------ */

static unsigned signal_one(const struct process *p, bool last, int signo)
{
    if (p->pid == 0 || p->service->last != last)
        return 0;
    kill(signo == SIGKILL ? -p->pid : p->pid, signo);
    return 1;
}

/* Returns the number of running processes. */
static unsigned signal_all(const struct supervisor *v, bool last, int signo)
{
    unsigned alive = 0;

    for (size_t i = 0; i < v->plan->n; i++)
        alive += signal_one(&v->now[i], last, signo) +
                 signal_one(&v->old[i], last, signo);
    return alive;
}

static void wait_for(struct supervisor *v, long ms)
{
    struct err e;

    if (loop_turn(v->loop, (int)ms, &e) < 0) {
        fprintf(stderr, "mta: %s\n", e.text);
        os_pause(100000); /* the wait failed: avoid a busy loop */
    }
    reap(v);
}

/* A collector that has died is replaced during a stop, too: another must
 * write the last lines. */
static void start_last(struct supervisor *v, uint64_t now)
{
    for (size_t i = 0; i < v->plan->n; i++) {
        struct process *p = &v->now[i];
        if (p->pid == 0 && p->service->last && p->start_at <= now)
            start(v, p);
    }
}

static void stop_others(struct supervisor *v)
{
    uint64_t until = clock_mono_ms() + stop_within(v, 2);

    signal_all(v, false, SIGTERM);
    while (signal_all(v, false, 0) > 0) {
        if (clock_mono_ms() >= until)
            signal_all(v, false, SIGKILL);
        start_last(v, clock_mono_ms());
        wait_for(v, 50);
    }
}

/* Signal the collector a second time, so that it does not wait for writers of
 * other process trees. */
static void stop_last(struct supervisor *v)
{
    uint64_t begin = clock_mono_ms();
    bool again = false;

    start_last(v, UINT64_MAX); /* died with the others: restart at once */
    signal_all(v, true, SIGTERM);
    while (signal_all(v, true, 0) > 0) {
        uint64_t now = clock_mono_ms();
        if (now >= begin + STOP_STEP_MS && !again) {
            signal_all(v, true, SIGTERM);
            again = true;
        }
        if (now >= begin + 2 * STOP_STEP_MS)
            signal_all(v, true, SIGKILL);
        wait_for(v, 50);
    }
}

/* --- from start to end --------------------------------------------------- */

static void on_signal(struct loop_io *io, unsigned ready)
{
    (void)ready;
    os_drain(io->fd);
}

int supervise_signals(struct err *e)
{
    static const int ours[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD };

    os_ignore_strays();
    return signals_catch(ours, sizeof ours / sizeof ours[0], e);
}

static int open_loop(struct supervisor *v, struct err *e)
{
    if (loop_new(&v->loop, NULL, e) != 0)
        return -1;
    v->signal_io = (struct loop_io){ .fd = signals_fd(), .fn = on_signal };
    return loop_watch(v->loop, &v->signal_io, LOOP_READ, e);
}

/* Start missing processes; returns the ms until the next action is due. */
static long start_missing(struct supervisor *v)
{
    uint64_t now = clock_mono_ms(), next = v->watch_at;

    for (size_t i = 0; i < v->plan->n; i++) {
        struct process *p = &v->now[i], *old = &v->old[i];
        bool blocked = old->pid > 0 && p->service->drain == NULL;
        if (p->pid == 0 && !blocked && p->start_at <= now)
            start(v, p);
        if (p->pid == 0 && !blocked && p->start_at < next)
            next = p->start_at;
        uint64_t due = old->stop_at != 0 ? old->stop_at : old->kill_at;
        if (old->pid > 0 && due != 0 && due < next)
            next = due;
    }
    return next > now ? (long)(next - now) : 0;
}

static bool must_stop(void)
{
    return signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

static void turn(struct supervisor *v)
{
    struct err e;

    wait_for(v, start_missing(v));
    if (signals_take(SIGHUP) > 0)
        (void)reload(v, &e);
    if (signals_take(SIGUSR1) > 0)
        for (size_t i = 0; i < v->plan->n; i++)
            signal_one(&v->now[i], false, SIGUSR1);
    keep_deadlines(v);
    adopt(v);
    watch(v);
}

int supervise(const struct supervise *plan)
{
    static struct supervisor v;
    struct err e;

    assert(plan->n <= SUPERVISE_MAX);
    v = (struct supervisor){ .plan = plan, .status = -1, .generation = 1 };
    for (size_t i = 0; i < plan->n; i++) {
        v.now[i] = v.old[i] =
            (struct process){ .service = &plan->service[i], .line = -1 };
    }
    v.began = clock_mono_ms();
    v.watch_at = v.began + WATCH_MS;
    title_set("supervisor");
    if (open_loop(&v, &e) != 0) {
        fprintf(stderr, "mta: %s\n", e.text);
        return EX_OSERR;
    }
    v.no_control = has_end(&v);
    open_control(&v);
    (void)start_missing(&v);
    note_state("READY=1"); /* the sockets have been listening for a while */
    while (!must_stop() && v.status < 0)
        turn(&v);
    v.stopping = true;
    note_state("STOPPING=1");
    control_close(&v.control);
    plan->before_stop(plan->ctx);
    stop_others(&v);
    stop_last(&v);
    loop_free(&v.loop);
    return v.status < 0 ? EX_OK : v.status;
}
