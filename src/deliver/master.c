/* master.c - keep the processes of local delivery alive. */
#include "deliver/master.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/handdown.h"
#include "base/line.h"
#include "base/os.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/stop.h"
#include "base/title.h"
#include "deliver/deliver.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "net/loop.h"
#include "recipient/user_helper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    MAILBOXES_MAX = 64, /* maximum of deliver.workers */
    /* Indices of the parts: mailbox processes by number, behind them the
     * patient one, and at the end the user helper. */
    HELPER = MAILBOXES_MAX + 1,
    PARTS,
    NAME_MAX_TEXT = 32,
    /* Parts that were killed and have not ended, because they are stuck in a
     * system call: they hold memory and processes.  With so many, none is
     * forked. */
    KILLED_MAX = 32,
    /* After the death of the delivery process its parts finish the copies in
     * hand; then those that are killed may be slow to end. */
    END_MS = 1000,
    STUCK_MS = 250,  /* at a stop, behind SIGKILL */
    CONFINED_MS = 50 /* from fork to sandbox, about */
};

struct master {
    const struct deliver_master_options *o;
    struct loop *loop;
    struct loop_io signal_io, up, down; /* lines: supervisor, deliver */
    struct child deliver, part[PARTS];
    unsigned nmailboxes;
    bool patient, helper; /* wanted */
    uid_t only;           /* for the user helper */
    struct mailbox_progress *progress;
    bool confined[PARTS];        /* it is logged what they have given up */
    unsigned killed;             /* parts given up that have not ended yet */
    bool too_many;               /* of them: is logged */
    uint64_t end_at, give_up_at; /* the delivery process was killed; 0: not */
    int status;                  /* of the service; -1: it goes on */
};

static bool must_stop(void)
{
    return signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

static const char *part_name(unsigned i, char name[NAME_MAX_TEXT])
{
    if (i == HELPER)
        snprintf(name, NAME_MAX_TEXT, "user helper");
    else
        snprintf(name, NAME_MAX_TEXT, "mailbox %u", i + 1);
    return name;
}

static bool is_wanted(const struct master *m, unsigned i)
{
    return i < m->nmailboxes ||
           (i == m->nmailboxes ? m->patient : i == HELPER && m->helper);
}

static void log_process(enum log_level level, const char *process,
                        const char *state, pid_t pid)
{
    LOG(level, "deliver.process", LS("process", process), LS("state", state),
        LN("pid", pid));
}

static void log_death(const char *process, pid_t pid, int status)
{
    LOG(LOG_ERROR, "deliver.process", LS("process", process),
        LS("state", "died"), LN("pid", pid),
        LN("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
        LN("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
}

static void log_failure(const char *process, const struct err *e)
{
    LOG(LOG_ERROR, "deliver.process", LS("process", process),
        LS("error", e->text));
}

/* --- the delivery process --------------------------------------------- */

static void close_down(struct master *m)
{
    if (m->down.fd < 0)
        return;
    (void)loop_watch(m->loop, &m->down, 0, NULL);
    close(m->down.fd);
    m->down.fd = -1;
}

static size_t progress_size(const struct master *m)
{
    return (m->nmailboxes + 1) * sizeof *m->progress;
}

static void become_deliver(struct master *m, int line)
{
    const struct conf *c = m->o->conf;
    int status = EX_OSERR;
    struct err e;

    title_set("deliver");
    close(m->up.fd);
    loop_free(&m->loop);
    (void)mprotect(m->progress, progress_size(m), PROT_READ);
    if (os_act_as_started(&e) == 0 &&
        os_drop_privileges(c->user, c->group, &e) == 0)
        status = m->o->deliver(m->o->ctx, line, m->progress);
    else
        log_failure("deliver", &e);
    log_close();
    fflush(NULL);
    _exit(status);
}

static void start_deliver(struct master *m)
{
    struct err e;
    int end;

    log_flush();
    pid_t pid = child_fork(&m->deliver, &end, &e);
    if (pid == 0)
        become_deliver(m, end);
    if (pid < 0) {
        log_failure("deliver", &e);
        return;
    }
    m->down.fd = end;
    log_process(LOG_INFO, "deliver", "started", pid);
    if (loop_watch(m->loop, &m->down, LOOP_READ, &e) != 0) {
        log_failure("deliver", &e);
        kill(pid, SIGKILL);
    }
}

/* --- mailbox processes and user helper -------------------------------- */

/* Such a process writes no log: its report goes through the page. */
static bool confine_mailbox(const struct conf *c, struct mailbox_progress *p)
{
    bool homes = strncmp(c->local.mail_dir, "~/", 2) == 0;
    struct sandbox_paths paths = { .queue_dir = c->queue_dir,
                                   .mail_dir =
                                       homes ? NULL : c->local.mail_dir };
    struct sandbox_report r;

    sandbox_enter(c->local.users.source == CONF_USERS_PASSWD
                      ? SANDBOX_MAILBOX_USERS
                      : SANDBOX_MAILBOX,
                  &paths, &r);
    snprintf(p->why, sizeof p->why, "%.199s",
             r.why.kind != ERR_NONE ? r.why.text : "");
    p->seccomp = r.seccomp && r.no_new_privileges;
    p->landlock = r.landlock;
    __atomic_store_n(&p->confined, true, __ATOMIC_RELEASE);
    return r.landlock > 0 && !homes;
}

/* Log what the processes have given up since the last call.  Returns the ms
 * until another look, or next. */
static long log_confined(struct master *m, long next)
{
    char why[sizeof m->progress->why];

    for (unsigned i = 0; i <= m->nmailboxes; i++) {
        struct mailbox_progress *p = &m->progress[i];
        if (m->part[i].pid == 0 || m->confined[i])
            continue;
        m->confined[i] = __atomic_load_n(&p->confined, __ATOMIC_ACQUIRE);
        if (!m->confined[i]) {
            next = next < 0 || next > CONFINED_MS ? CONFINED_MS : next;
            continue;
        }
        struct sandbox_report r = { .process = "mailbox",
                                    .no_new_privileges = p->seccomp,
                                    .seccomp = p->seccomp,
                                    .landlock = p->landlock };
        memcpy(why, p->why, sizeof why);
        why[sizeof why - 1] = '\0';
        if (why[0] != '\0')
            err_set(&r.why, ERR_TEMP, 0, "%s", why);
        log_sandbox(&r);
    }
    return next;
}

static void become_part(struct master *m, unsigned i, int end)
{
    static const struct sandbox_paths no_queue = { .queue_dir = NULL };
    const struct conf *c = m->o->conf;
    struct sandbox_report report;
    char name[NAME_MAX_TEXT];
    int status = EX_OSERR;
    struct err e;

    title_set("%s", part_name(i, name));
    loop_free(&m->loop);
    bool ready =
        os_act_as_started(&e) == 0 &&
        (i != HELPER || os_drop_privileges(c->user, c->group, &e) == 0);
    if (!ready)
        log_failure(name, &e);
    log_close_descriptor();
    child_serve_only(end);
    if (ready && i == HELPER) {
        sandbox_enter(SANDBOX_HELPER, &no_queue, &report);
        log_sandbox(&report);
    }
    log_close();
    if (ready && i == HELPER)
        status = user_helper_run(end, m->only) == 0 ? EX_OK : EX_OSERR;
    else if (ready)
        status = mailbox_run(end, c, &m->progress[i], confine_mailbox);
    _exit(status);
}

/* Kill a part, and do not wait for its end, which a system call may delay. */
static void give_up(struct master *m, unsigned i)
{
    struct child *c = &m->part[i];

    if (c->pid == 0)
        return;
    kill(c->pid, SIGKILL);
    child_ended(c);
    m->killed++;
}

static void start_part(struct master *m, unsigned i)
{
    char name[NAME_MAX_TEXT], message[LINE_MAX_TEXT] = DELIVER_HELPER;
    struct err e;
    int end;

    part_name(i, name);
    if (i != HELPER) {
        m->progress[i] = (struct mailbox_progress){ 0 };
        m->confined[i] = false;
        snprintf(message, sizeof message, DELIVER_MAILBOX "%u", i);
    }
    log_flush();
    pid_t pid = child_fork(&m->part[i], &end, &e);
    if (pid == 0)
        become_part(m, i, end);
    if (pid < 0) {
        log_failure(name, &e);
        return;
    }
    log_process(LOG_INFO, name, "started", pid);
    if (line_send(m->down.fd, message, end, &e) != 0) {
        if (e.sys != EPIPE) /* the delivery process has ended */
            log_failure(name, &e);
        give_up(m, i);
    }
    close(end);
}

static void replace(struct master *m, unsigned i)
{
    char name[NAME_MAX_TEXT];

    if (i == m->nmailboxes)
        m->patient = true;
    if (!is_wanted(m, i) || m->part[i].pid == 0)
        return;
    log_process(LOG_WARN, part_name(i, name), "replaced", m->part[i].pid);
    give_up(m, i);
    child_replaced(&m->part[i]);
}

/* --- lines ------------------------------------------------------------ */

/* Pass copies of files on to the delivery process; one that is forked later
 * inherits them. */
static void on_up(struct loop_io *io, unsigned ready)
{
    struct master *m = LOOP_ENTRY(io, struct master, up);
    char message[LINE_MAX_TEXT];
    struct err e;
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0) {
        if (m->down.fd >= 0 && line_send(m->down.fd, message, fd, &e) != 0)
            log_err(LOG_ERROR, "deliver.tables", &e);
        if (!handdown_accept(message, fd) && fd >= 0)
            close(fd);
    }
    if (rc < 0)
        (void)loop_watch(m->loop, io, 0, NULL);
}

static void obey(struct master *m, const char *message)
{
    static const char mailbox[] = DELIVER_REPLACE;
    unsigned long long number;

    if (strcmp(message, DELIVER_REPLACE_HELPER) == 0)
        replace(m, HELPER);
    else if (strncmp(message, mailbox, sizeof mailbox - 1) == 0 &&
             span_u64(span_of(message + sizeof mailbox - 1), m->nmailboxes,
                      &number))
        replace(m, (unsigned)number);
}

static void on_down(struct loop_io *io, unsigned ready)
{
    struct master *m = LOOP_ENTRY(io, struct master, down);
    char message[LINE_MAX_TEXT];
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0) {
        obey(m, message);
        if (fd >= 0)
            close(fd);
    }
    if (rc < 0)
        (void)loop_watch(m->loop, io, 0, NULL); /* SIGCHLD follows */
}

/* --- ends ------------------------------------------------------------- */

static void deliver_ended(struct master *m, int status)
{
    pid_t pid = m->deliver.pid;

    close_down(m);
    child_ended(&m->deliver);
    m->patient = false;
    if (WIFEXITED(status)) {
        m->status = WEXITSTATUS(status);
        return;
    }
    m->end_at = clock_mono_ms() + END_MS;
    m->give_up_at = m->end_at + END_MS;
    if (!must_stop())
        log_death("deliver", pid, status);
}

static void part_ended(struct master *m, unsigned i, int status)
{
    pid_t pid = m->part[i].pid;
    char name[NAME_MAX_TEXT];

    child_ended(&m->part[i]);
    part_name(i, name);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EX_OK)
        log_process(LOG_INFO, name, "ended", pid);
    else if (!must_stop())
        log_death(name, pid, status);
}

static void ended(struct master *m, pid_t pid, int status)
{
    if (pid == m->deliver.pid) {
        deliver_ended(m, status);
        return;
    }
    for (unsigned i = 0; i < PARTS; i++)
        if (pid == m->part[i].pid) {
            part_ended(m, i, status);
            return;
        }
    m->killed -= m->killed > 0;
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        ended(m, pid, status);
}

/* Returns the number of parts that run. */
static unsigned signal_parts(const struct master *m, int signo)
{
    unsigned alive = 0;

    for (unsigned i = 0; i < PARTS; i++)
        if (m->part[i].pid > 0) {
            kill(m->part[i].pid, signo);
            alive++;
        }
    return alive;
}

/* The delivery process was killed: its parts end first, so that no two
 * processes write one mailbox.  Returns the ms until the next step, -1 when
 * they have ended, or cannot. */
static long clear(struct master *m, uint64_t now)
{
    if (signal_parts(m, 0) > 0 && now < m->end_at)
        return (long)(m->end_at - now);
    if (signal_parts(m, SIGKILL) > 0 && now < m->give_up_at)
        return (long)(m->give_up_at - now);
    for (unsigned i = 0; i < PARTS; i++)
        give_up(m, i);
    m->end_at = 0;
    return -1;
}

/* --- from start to end ------------------------------------------------ */

static bool may_fork_parts(struct master *m)
{
    bool too_many = m->killed >= KILLED_MAX;

    if (too_many && !m->too_many)
        LOG(LOG_ERROR, "deliver.process",
            LS("error", "too many stuck processes: none is replaced"));
    m->too_many = too_many;
    return m->down.fd >= 0 && !too_many;
}

/* Fork what is due; returns the ms until the next is, or -1. */
static long start_missing(struct master *m)
{
    uint64_t now = clock_mono_ms();
    long next = m->end_at != 0 ? clear(m, now) : -1;

    if (m->end_at != 0)
        return next;
    if (child_is_due(&m->deliver, now))
        start_deliver(m);
    next = child_wait(&m->deliver, now, next);
    for (unsigned i = 0; i < PARTS && may_fork_parts(m); i++) {
        if (!is_wanted(m, i))
            continue;
        if (child_is_due(&m->part[i], now))
            start_part(m, i);
        next = child_wait(&m->part[i], now, next);
    }
    return next;
}

static void on_signal(struct loop_io *io, unsigned ready)
{
    struct master *m = LOOP_ENTRY(io, struct master, signal_io);

    (void)ready;
    os_drain(io->fd);
    if (signals_take(SIGUSR1) > 0 && m->deliver.pid > 0)
        kill(m->deliver.pid, SIGUSR1);
}

static void wait_for(struct master *m, long ms)
{
    struct err e;

    if (loop_turn(m->loop, (int)ms, &e) < 0) {
        log_err(LOG_ERROR, "deliver.loop", &e);
        os_pause(100000); /* loop_turn() failed: avoid a busy loop */
    }
    reap(m);
}

/* The delivery process ends with the copies in hand, then its parts, which see
 * the end of their pairs. */
static void stop(struct master *m)
{
    uint64_t until = clock_mono_ms() + stop_ms(m->o->conf->stop_timeout, 1);
    uint64_t stuck = until + STUCK_MS;

    if (m->deliver.pid > 0)
        kill(m->deliver.pid, SIGTERM);
    while (m->deliver.pid > 0 || signal_parts(m, 0) > 0) {
        uint64_t now = clock_mono_ms();
        if (now >= stuck)
            break;
        if (now >= until) {
            signal_parts(m, SIGKILL);
            if (m->deliver.pid > 0)
                kill(m->deliver.pid, SIGKILL);
        }
        wait_for(m, 100);
    }
}

static int open_loop(struct master *m, struct err *e)
{
    static const int ours[] = { SIGTERM, SIGINT, SIGUSR1, SIGCHLD };

    if (loop_new(&m->loop, NULL, e) != 0 ||
        signals_catch(ours, sizeof ours / sizeof ours[0], e) != 0)
        return -1;
    m->signal_io = (struct loop_io){ .fd = signals_fd(), .fn = on_signal };
    m->up = (struct loop_io){ .fd = m->o->line, .fn = on_up };
    m->down = (struct loop_io){ .fd = -1, .fn = on_down };
    return loop_watch(m->loop, &m->signal_io, LOOP_READ, e) != 0
               ? -1
               : loop_watch(m->loop, &m->up, LOOP_READ, e);
}

static int share_progress(struct master *m, struct err *e)
{
    void *p = mmap(NULL, progress_size(m), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_set(e, ERR_TEMP, errno, "memory for mailbox processes");
    m->progress = p;
    return 0;
}

static int set_up(struct master *m, struct err *e)
{
    const struct conf *c = m->o->conf;
    uid_t uid;
    gid_t gid;

    m->only = geteuid() == 0 ? (uid_t)-1 : geteuid();
    if (share_progress(m, e) != 0 || open_loop(m, e) != 0 ||
        os_find_ids(c->user, c->group, &uid, &gid, e) != 0 ||
        os_act_as(uid, gid, e) != 0)
        return -1;
    return log_open(c->queue_dir, (enum log_level)c->log.level,
                    (enum log_format)c->log.format, e);
}

int deliver_master_run(const struct deliver_master_options *o, struct err *e)
{
    static struct master m; /* static because it is large */

    m.o = o;
    m.status = -1;
    m.nmailboxes = (unsigned)o->conf->deliver.workers;
    m.helper = o->conf->local.users.source == CONF_USERS_PASSWD;
    if (set_up(&m, e) == 0) {
        while (!must_stop() && m.status < 0) {
            long next = log_confined(&m, start_missing(&m));
            log_flush();
            wait_for(&m, next);
        }
        stop(&m);
        m.status = m.status < 0 ? EX_OK : m.status;
    }
    close_down(&m);
    loop_free(&m.loop);
    if (m.progress != NULL)
        munmap(m.progress, progress_size(&m));
    log_close();
    return m.status;
}
