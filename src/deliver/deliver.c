/* deliver.c - the delivery process: signals, the main loop, the end. */
#include "deliver/deliver.h"

#include "base/os.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/stop.h"
#include "deliver/control.h"
#include "deliver/mailboxes.h"
#include "deliver/state.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "queue/handover.h"
#include "spool/space.h"

#include <signal.h>

enum { WANT_FDS = 4096 };

struct process {
    struct deliver d;
    struct loop_io line;
    struct control *control;
    bool orphan; /* the master has ended */
};

static const int ours[] = { SIGTERM, SIGINT, SIGUSR1 };
enum { NOURS = sizeof ours / sizeof ours[0] };

static bool must_stop(const struct process *p)
{
    return p->orphan || signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

/* --- descriptors ---------------------------------------------------------- */

static void on_line(struct loop_io *io, unsigned ready)
{
    struct process *p = LOOP_ENTRY(io, struct process, line);

    (void)ready;
    if (deliver_take_line(&p->d, io->fd) == 0)
        return;
    p->orphan = true;
    (void)loop_watch(p->d.loop, io, 0, NULL);
}

static int watch(struct process *p, struct err *e)
{
    p->line = (struct loop_io){ .fd = p->d.o->line, .fn = on_line };
    return loop_watch(p->d.loop, &p->line, LOOP_READ, e) != 0
               ? -1
               : housekeeping_watch(&p->d.housekeeping, &p->d.queue, e);
}

/* --- the loop ------------------------------------------------------------- */

static int wait_ms(const struct process *p)
{
    const struct deliver *d = &p->d;
    uint64_t ms = housekeeping_wait(&d->housekeeping, &d->queue);
    uint64_t next = retry_queue_next(&d->queue.memory.retry) * (uint64_t)1000;

    if (!d->stopping && !list_empty(&d->schedule.due))
        return 0;
    if (!d->o->once && next < ms)
        ms = next;
    if (d->stopping && ms > 100)
        ms = 100;
    return (int)(ms < 60000 ? ms : 60000);
}

static int turn(struct process *p, struct err *e)
{
    if (loop_turn(p->d.loop, wait_ms(p), e) < 0 ||
        deliver_turn(&p->d, signals_take(SIGUSR1) > 0, e) != 0)
        return -1;
    log_flush();
    return 0;
}

static bool is_over(const struct process *p)
{
    return must_stop(p) || (p->d.o->once && !deliver_is_busy(&p->d));
}

/* Copies in flight are finished, nothing new is begun. */
static int wind_down(struct process *p, struct err *e)
{
    struct deliver *d = &p->d;
    uint64_t stop_by = loop_now(d->loop) + stop_ms(d->conf->stop_timeout, 0);

    d->stopping = true;
    while (d->mailbox.ncopies > 0 && loop_now(d->loop) < stop_by)
        if (turn(p, e) != 0)
            return -1;
    return 0;
}

static int work_until_over(struct process *p, struct err *e)
{
    struct queue *q = &p->d.queue;
    struct err why;

    q->scan.wanted = true;
    LOG(LOG_INFO, "deliver.start", LN("mailboxes", p->d.mailbox.n));
    if (spool_space_warn(p->d.conf->queue_dir, &why) != 0)
        log_err(LOG_WARN, "queue.disk", &why);
    if (turn(p, e) != 0)
        return -1;
    q->scan.closed = p->d.o->once;
    while (!is_over(p))
        if (turn(p, e) != 0)
            return -1;
    return wind_down(p, e);
}

/* Now or later there is something to do for the mail of the queue. */
static bool has_work(const struct queue *q)
{
    return q->memory.pending > 0 || q->held.n > 0 || q->scan.incomplete ||
           q->scan.unread != NULL || !list_empty(&q->slot.unwritten);
}

/* Mail does not wait for it. */
static void open_control(struct process *p)
{
    struct err e;

    if (deliver_control_open(&p->control, &p->d, &e) != 0)
        log_err(LOG_WARN, "deliver.control", &e);
}

static int run(struct process *p, const struct deliver_options *o,
               const sigset_t *wait_mask, struct err *e)
{
    const struct sandbox_paths paths = { .queue_dir = o->conf->queue_dir };
    struct sandbox_report report;
    struct queue *q = &p->d.queue;
    int rc = -1;

    if (deliver_open(&p->d, o, wait_mask, e) != 0 || watch(p, e) != 0)
        goto out;
    open_control(p);
    sandbox_enter(SANDBOX_DELIVER, &paths, &report);
    log_sandbox(&report);
    rc = work_until_over(p, e);
    LOG(LOG_INFO, "deliver.stop", LN("pending", q->memory.pending),
        LN("held", q->held.n));
    queue_finish(q);
out:
    if (rc == 0 && has_work(q))
        rc = 1;
    control_close(&p->control);
    deliver_close(&p->d);
    log_flush_wait();
    return rc;
}

int deliver_run(const struct deliver_options *o, struct err *e)
{
    static struct process process; /* large; one per process */
    sigset_t before, wait_mask;

    os_want_fds(WANT_FDS);
    signals_block(ours, NOURS, &before, &wait_mask);
    int rc = signals_catch(ours, NOURS, e);
    if (rc == 0)
        rc = run(&process, o, &wait_mask, e);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}
