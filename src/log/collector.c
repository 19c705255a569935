/* collector.c - the process that owns the log file. */
#include "log/collector.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/line.h"
#include "base/os.h"
#include "base/signals.h"
#include "log/format.h"
#include "log/logfile.h"
#include "log/run.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <unistd.h>

enum {
    FAULT_AGAIN_MS = 1000,
    LINGER_POLL_US = 50000,
    QUEUE_AGAIN_US = 900000,
    GATHER_US = 1000,
    GATHER_MOST_US = 20000,
    GATHER_BYTES = 4096,
    BURST = 4 /* bytes a microsecond, of a busy server */
};

struct collector {
    const struct log_collect *o;
    char file[LINE_MAX_TEXT], next[LINE_MAX_TEXT];
    int next_fd; /* of the file to be used from now on; -1: none */
    int lock_fd;
    struct msgqueue q;
    struct inflight taken;
    struct logfile out;
    bool reopened;        /* and log.reopened is not written yet */
    uint64_t leave_at;    /* 0: not stopping */
    uint64_t stuck_since; /* 0: the last write succeeded */
    char fault[200];
    bool more;            /* the queue may hold more messages */
    uint64_t took_at;     /* us; when the batch before was taken */
    size_t n, done, last; /* last: length of the batch written before */
    char batch[INFLIGHT_MAX];
};

/* --- signals --------------------------------------------------------- */

static volatile int wake_queue = -1;

/* Send a message, because the signal may arrive just before msgrcv() is
 * entered.  A full queue wakes msgrcv() as well. */
static void wake_up(void)
{
    static const struct log_message wake = { .length = LONG_MAX };

    if (wake_queue >= 0)
        (void)msgsnd(wake_queue, &wake, 0, IPC_NOWAIT);
}

static int handle_signals(struct err *e)
{
    static const int ours[] = { SIGHUP, SIGTERM, SIGINT };
    sigset_t held;

    signals_call(wake_up);
    if (signals_catch(ours, sizeof ours / sizeof ours[0], e) != 0)
        return -1;
    os_signal(SIGXFSZ, SIG_IGN); /* write() returns EFBIG, as for a full disk */
    /* Unblock what the parent may have blocked until now. */
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigprocmask(SIG_UNBLOCK, &held, NULL);
    return 0;
}

/* A second signal ends the wait for other writers. */
static bool stopping(struct collector *c)
{
    uint64_t now = clock_mono_ms();

    unsigned n = signals_count(SIGINT) + signals_count(SIGTERM);
    if (n == 0)
        return false;
    if (n > 1)
        c->leave_at = now;
    else if (c->leave_at == 0)
        c->leave_at = now + c->o->linger_ms;
    return true;
}

static bool must_leave(struct collector *c)
{
    return stopping(c) && clock_mono_ms() >= c->leave_at;
}

/* --- events of our own ----------------------------------------------- */

static size_t own_line(char *line, size_t size, enum log_level level,
                       const char *name, const struct log_field *fields)
{
    const struct log_event ev = { clock_wall_us(), level, name, fields };
    struct buf b;

    buf_init(&b, line, size);
    log_render(&b, log_format_now(), &ev);
    return b.n;
}

/* Report events that cannot be written to the file. */
static void tell_stderr(const char *name, const char *file, const char *error)
{
    const struct log_field fields[] = { LS("file", file),
                                        LS("error", error),
                                        { NULL, LOG_END, NULL, 0 } };
    char line[LOG_LINE_MAX + 1];
    size_t n = own_line(line, sizeof line, LOG_ERROR, name, fields);

    (void)fs_write_all(STDERR_FILENO, line, n);
}

static int write_out(struct collector *c, struct err *e);

/* Write an event as if it were received; no batch may be in flight. */
static int say(struct collector *c, enum log_level level, const char *name,
               const struct log_field *fields, struct err *e)
{
    char line[LOG_LINE_MAX + 1];
    struct log_message *m = &c->taken.page->slot[0];

    if (!log_wants(level))
        return 0;
    size_t n = own_line(line, sizeof line, level, name, fields);
    memcpy(m->text, line, n);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    m->length = (long)n;
    return write_out(c, e);
}

#define SAY(c, e, level, name, ...)                                            \
    say((c), (level), (name),                                                  \
        (const struct log_field[]){ __VA_ARGS__, { NULL, LOG_END, NULL, 0 } }, \
        (e))

/* --- writing --------------------------------------------------------- */

int log_hand_over(int line, const struct log_collect *o, enum log_level level,
                  enum log_format format, struct err *e)
{
    char text[LINE_MAX_TEXT];
    int n = snprintf(text, sizeof text, "log %d %d %s", (int)level, (int)format,
                     o->file);

    if (n < 0 || (size_t)n >= sizeof text)
        return err_set(e, ERR_USAGE, 0, "name too long: %s", o->file);
    return line_send(line, text, o->fd, e);
}

/* The newest that has come is the next one to be used. */
static void receive_file(struct collector *c)
{
    char text[LINE_MAX_TEXT];
    int fd, level, format;

    while (c->o->line >= 0 && line_receive(c->o->line, text, &fd) > 0) {
        int at = 0;
        if (fd < 0 || sscanf(text, "log %d %d %n", &level, &format, &at) < 2 ||
            at == 0) {
            if (fd >= 0)
                fs_close(fd);
            continue;
        }
        if (c->next_fd >= 0)
            fs_close(c->next_fd);
        c->next_fd = fd;
        log_style((enum log_level)level, (enum log_format)format);
        snprintf(c->next, sizeof c->next, "%s", text + at);
    }
}

static bool reopen_due(const struct collector *c)
{
    return signals_count(SIGHUP) > 0 || c->next_fd >= 0;
}

/* Most likely the file was renamed, and there is a new one.  If that cannot be
 * used the old one goes on, and it is tried again. */
static void reopen(struct collector *c)
{
    struct err e;

    (void)signals_take(SIGHUP);
    receive_file(c);
    if (c->next_fd < 0)
        return;
    c->done = logfile_take_back(&c->out, c->batch, c->done);
    inflight_skip(&c->taken, c->done);
    if (logfile_use(&c->out, c->next, c->next_fd, &e) != 0) {
        tell_stderr("log.stuck", c->next, e.text);
        return;
    }
    c->next_fd = -1;
    snprintf(c->file, sizeof c->file, "%s", c->next);
    c->reopened = true;
}

static void note_fault(struct collector *c, int why)
{
    if (c->stuck_since != 0)
        return;
    c->stuck_since = clock_mono_ms();
    if (strerror_r(why, c->fault, sizeof c->fault) != 0)
        snprintf(c->fault, sizeof c->fault, "error %d", why);
    tell_stderr("log.stuck", c->file, c->fault);
}

/* Returns 0 to try again.  A closed pipe is permanent; all other faults may
 * pass. */
static int after_fault(struct collector *c, int why, struct err *e)
{
    if (why == EAGAIN) {
        struct pollfd out = { c->out.fd, POLLOUT, 0 };
        (void)poll(&out, 1, FAULT_AGAIN_MS);
    } else {
        note_fault(c, why);
        if (why != EPIPE && why != EBADF && signals_count(SIGHUP) == 0 &&
            !must_leave(c))
            os_pause(FAULT_AGAIN_MS * 1000L);
    }
    if (why == EPIPE || why == EBADF || must_leave(c))
        return err_set(e, ERR_TEMP, why, "write to log file %s", c->file);
    return 0;
}

static int write_some(struct collector *c)
{
    if (!c->taken.page->placed && logfile_place(&c->out, &c->taken) != 0)
        return -1;
    ssize_t n = logfile_write(&c->out, c->batch + c->done, c->n - c->done);
    if (n < 0)
        return -1;
    c->done += (size_t)n;
    if (!c->out.regular)
        inflight_skip(&c->taken, c->done);
    return 0;
}

/* Write the batch from c->done on, however long it takes.  After a failure the
 * batch stays where the next collector finds it. */
static int finish_batch(struct collector *c, struct err *e)
{
    while (c->done < c->n) {
        if (reopen_due(c))
            reopen(c);
        if (write_some(c) != 0 && after_fault(c, errno, e) != 0)
            return -1;
    }
    inflight_clear(&c->taken);
    c->last = c->n;
    c->n = c->done = 0;
    return 0;
}

static int write_out(struct collector *c, struct err *e)
{
    c->n = inflight_batch(&c->taken, c->batch);
    c->done = 0;
    if (finish_batch(c, e) != 0)
        return -1;
    if (c->stuck_since == 0)
        return 0;
    uint64_t ms = clock_mono_ms() - c->stuck_since;
    c->stuck_since = 0;
    return SAY(c, e, LOG_WARN, "log.recovered", LS("file", c->file),
               LS("error", c->fault), LN("stuck_ms", ms));
}

/* Write the batch that an earlier collector received and may not have
 * written. */
static int finish_inflight(struct collector *c, struct err *e)
{
    c->n = inflight_batch(&c->taken, c->batch);
    c->done = logfile_find(&c->out, &c->taken, c->batch, c->n);
    bool goes_on = c->out.regular && c->taken.page->placed &&
                   c->done > c->taken.page->skip;
    size_t left = c->n - c->done;
    /* The batch completes the line at the end of the file.  The page must not
     * describe half a line without its place. */
    if (goes_on)
        c->out.torn = false;
    else
        inflight_skip(&c->taken, c->done);
    if (finish_batch(c, e) != 0)
        return -1;
    inflight_clear(&c->taken);
    return SAY(c, e, LOG_INFO, "log.start", LN("pid", getpid()),
               LS("file", c->file), LN("recovered", left));
}

/* --- reading --------------------------------------------------------- */

/* Receive one message into one slot.  1; 0: none now; -1 with errno. */
static int receive(struct collector *c, int slot, int flags)
{
    struct log_message *m = &c->taken.page->slot[slot];
    ssize_t n = msgrcv(c->q.id, m, LOG_MESSAGE_MAX, 0, flags | MSG_NOERROR);

    if (n < 0)
        return errno == ENOMSG || errno == EINTR ? 0 : -1;
    if (m->length != n) /* a wake-up, or not from a writer of this program */
        m->length = n;
    return n > 0;
}

/* Wait until the system has a queue left; meanwhile writers send lines to
 * standard error.  0; 1: stopping without a queue; -1 with *e. */
static int find_queue(struct collector *c, struct err *e)
{
    bool told = false;
    struct err why;

    wake_queue = -1;
    while (msgqueue_attach(&c->q, c->o->queue_dir, LOG_COLLECTOR, &why) != 0) {
        if (!c->q.none_left) {
            *e = why;
            return -1;
        }
        if (!told)
            tell_stderr("log.noqueue", c->file, why.text);
        told = true;
        if (stopping(c))
            return 1;
        os_pause(QUEUE_AGAIN_US);
    }
    wake_queue = c->q.id;
    return 0;
}

/* The queue was removed: read the key again, as writers do. */
static int find_queue_again(struct collector *c, struct err *e)
{
    key_t before = c->q.key;
    int rc = find_queue(c, e);

    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (c->q.key == before)
        return 0;
    inflight_close(&c->taken, true);
    return inflight_open(&c->taken, &c->q, e);
}

/* Wait for one message, then receive the others that are queued.  1 if there is
 * any, 0 after a signal. */
static int take(struct collector *c, int flags, struct err *e)
{
    int got = receive(c, 0, flags), i = 1;

    if (got < 0)
        return find_queue_again(c, e);
    while (got > 0 && i < INFLIGHT_SLOTS && receive(c, i, IPC_NOWAIT) > 0)
        i++; /* a lost queue is found by the next call */
    c->more = i == INFLIGHT_SLOTS;
    return got;
}

static int drain(struct collector *c, struct err *e)
{
    int got;

    while ((got = take(c, IPC_NOWAIT, e)) > 0)
        if (write_out(c, e) != 0)
            return -1;
    return got;
}

/* --- from start to end ----------------------------------------------- */

/* Remove the queue if no writer is attached.  A writer that starts now waits
 * for the lock and makes a new queue. */
static int remove_if_alone(struct collector *c, bool *gone, struct err *e)
{
    int fd = log_run_open(c->o->queue_dir, "log.writers", e), rc = -1;

    *gone = false;
    if (fd < 0)
        return -1;
    if (fs_lock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = 0;
        goto out;
    }
    if (drain(c, e) != 0 ||
        SAY(c, e, LOG_INFO, "log.stop", LN("pid", getpid())) != 0)
        goto out;
    wake_queue = -1;
    (void)msgctl(c->q.id, IPC_RMID, NULL);
    inflight_close(&c->taken, true);
    *gone = true;
    rc = 0;
out:
    close(fd);
    return rc;
}

static int leave(struct collector *c, struct err *e)
{
    bool gone = false;

    for (;;) {
        if (drain(c, e) != 0 || remove_if_alone(c, &gone, e) != 0)
            return -1;
        if (gone)
            return 0;
        if (must_leave(c))
            return SAY(c, e, LOG_INFO, "log.stop", LN("pid", getpid()));
        os_pause(LINGER_POLL_US);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Wait for more lines after a small batch: under load writers send many small
 * messages per millisecond, and each wake-up of the collector would preempt
 * them.  At the rate of this batch an eighth of the queue fills meanwhile, and
 * in a sudden burst not all of it.  Do not wait while the queue holds more than
 * one batch, or it would fill up and block its writers. */
static void let_some_gather(struct collector *c)
{
    uint64_t now = clock_mono_us(), took = now - c->took_at;
    uint64_t want = least(c->q.bytes / 8, GATHER_BYTES);
    uint64_t us = took * want / (c->last + 1);

    c->took_at = now;
    if (c->more || c->last >= c->q.bytes / 2)
        return;
    us = least(us, least(c->q.bytes / BURST, GATHER_MOST_US));
    os_pause(us > GATHER_US ? (long)us : GATHER_US);
}

/* Log log.reopened between two batches. */
static int say_reopened(struct collector *c, struct err *e)
{
    c->reopened = false;
    return SAY(c, e, LOG_INFO, "log.reopen", LS("file", c->file));
}

static int say_sandbox(struct collector *c, struct err *e)
{
    const struct sandbox_report *r = c->o->sandbox;

    return r == NULL
               ? 0
               : SAY(c, e, LOG_INFO, "sandbox.on", LS("process", r->process),
                     LS("seccomp", r->seccomp ? "yes" : "no"),
                     LN("landlock", r->landlock),
                     LS("error", r->why.kind != ERR_NONE ? r->why.text : NULL));
}

static int run(struct collector *c, struct err *e)
{
    while (!stopping(c)) {
        if (reopen_due(c))
            reopen(c);
        if (c->reopened && say_reopened(c, e) != 0)
            return -1;
        int got = take(c, 0, e);
        if (got < 0)
            return -1;
        if (got > 0 && write_out(c, e) != 0)
            return -1;
        if (got > 0)
            let_some_gather(c);
    }
    return leave(c, e);
}

static int take_lock(struct collector *c, struct err *e)
{
    c->lock_fd = log_run_open(c->o->queue_dir, "log.lock", e);
    if (c->lock_fd < 0)
        return -1;
    uint64_t until = 0;
    while (fs_lock(c->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return err_set(e, ERR_TEMP, errno, "lock log.lock in %s",
                           c->o->queue_dir);
        if (!os_again(&until)) {
            err_set(e, ERR_TEMP, 0, "another collector serves %s",
                    c->o->queue_dir);
            if (e != NULL)
                e->sys = EWOULDBLOCK; /* the text replaces strerror() */
            return -1;
        }
    }
    return 0;
}

int log_collect(const struct log_collect *o, struct err *e)
{
    struct collector *c = calloc(1, sizeof *c);
    int rc = -1;

    if (c == NULL)
        return err_set(e, ERR_TEMP, errno, "memory for the collector");
    c->o = o;
    snprintf(c->file, sizeof c->file, "%s", o->file);
    c->lock_fd = c->out.fd = c->next_fd = -1;
    c->q = (struct msgqueue)MSGQUEUE_NONE;
    if (handle_signals(e) == 0 && take_lock(c, e) == 0 &&
        (rc = find_queue(c, e)) == 0 &&
        (rc = inflight_open(&c->taken, &c->q, e)) == 0 &&
        (rc = logfile_use(&c->out, o->file, o->fd, e)) == 0) {
        if (c->taken.id < 0)
            tell_stderr("log.unsafe", o->file, "no shared memory");
        rc = finish_inflight(c, e) != 0 || say_sandbox(c, e) != 0 ? -1
                                                                  : run(c, e);
    }
    rc = rc > 0 ? 0 : rc; /* stopped before there was a queue */
    wake_queue = -1;
    logfile_close(&c->out);
    if (c->next_fd >= 0)
        fs_close(c->next_fd);
    inflight_close(&c->taken, false);
    msgqueue_detach(&c->q);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    free(c);
    return rc;
}
