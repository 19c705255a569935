/* queue_drain.c - `mta queue drain`: have running processes try everything
 * until nothing is left. */
#include "cli/queue_operate.h"

#include "base/clock.h"
#include "cli/queue.h"
#include "cli/queue_live.h"
#include "config/value.h"
#include "control/client.h"
#include "spool/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 100, FLUSH_AGAIN_MS = 60 * 1000, PATIENCE = 5 };

struct draining {
    const struct options *o;
    uint64_t waiting;        /* recipients, as the processes have them */
    bool runs[SPOOL_QUEUES]; /* its process does */
    bool shown;
};

/* --- the processes ------------------------------------------------------- */

static int on_line(void *ctx, struct span line)
{
    static const char waiting[] = "waiting ";
    struct draining *d = ctx;
    unsigned long long n;

    if (!span_starts_nocase(line, waiting))
        return 0;
    line.p += sizeof waiting - 1;
    line.n -= sizeof waiting - 1;
    if (span_u64(line, UINT64_MAX, &n))
        d->waiting += n;
    return 0;
}

/* Of both queues; one without a process is left out. */
static int ask(struct draining *d, const char *command, struct err *e)
{
    struct control_ask a = { .queue_dir = d->o->conf.queue_dir,
                             .command = command,
                             .fn = on_line,
                             .ctx = d,
                             .patience = PATIENCE };

    d->waiting = 0;
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        a.name = queue_consumer((enum spool_name)i);
        d->runs[i] = control_ask(&a, e) == 0;
        if (!d->runs[i] && e->sys != ENOENT && e->sys != ECONNREFUSED)
            return -1;
    }
    return 0;
}

/* --- the disk ------------------------------------------------------------ */

struct left {
    uint64_t messages;
    bool waits[SPOOL_QUEUES]; /* a recipient is not held */
    struct err *e;
};

static int on_message(void *ctx, const struct spool_reader *v)
{
    struct left *l = ctx;
    struct spool_slot slot;

    l->messages++;
    for (uint32_t i = 0; i < v->rec->nrcpt && !l->waits[v->queue]; i++) {
        if (spool_reader_slot(v, i, &slot, l->e) != 0)
            return -1;
        l->waits[v->queue] = slot.state == SPOOL_PENDING;
    }
    return 0;
}

/* 1: some of it is still tried; 0: what is left is not; -1 with *e. */
static int look(const struct draining *d, struct left *l, struct err *e)
{
    *l = (struct left){ .e = e };
    if (spool_read_all(d->o->conf.queue_dir, false, on_message, l, e) < 0)
        return -1;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (l->waits[i] && d->runs[i])
            return 1;
    return 0;
}

/* --- the whole ----------------------------------------------------------- */

static void show(struct draining *d)
{
    if (!isatty(STDERR_FILENO))
        return;
    d->shown = true;
    fprintf(stderr, "\r\033[Kdrain: %" PRIu64 " recipients wait", d->waiting);
}

static void nap(void)
{
    const struct timespec t = { 0, LOOK_MS * 1000000L };

    (void)nanosleep(&t, NULL);
}

/* 0: nothing is tried any more; 1: the time is over; -1 with *e. */
static int wait_for_end(struct draining *d, uint64_t until, struct left *l,
                        struct err *e)
{
    uint64_t flushed = clock_mono_ms();

    if (ask(d, "flush all", e) != 0)
        return -1;
    for (;;) {
        if (ask(d, "waiting", e) != 0)
            return -1;
        show(d);
        int rc = d->waiting > 0 ? 1 : look(d, l, e);
        if (rc <= 0)
            return rc;
        uint64_t now = clock_mono_ms();
        if (now >= until)
            return look(d, l, e) < 0 ? -1 : 1;
        if (now - flushed >= FLUSH_AGAIN_MS) {
            flushed = now;
            if (ask(d, "flush all", e) != 0)
                return -1;
        }
        nap();
    }
}

static int report(const struct draining *d, const struct left *l, bool late)
{
    static const char *const what[] = {
        [SPOOL_LOCAL] = "local users: 'mta deliver' or 'mta run'",
        [SPOOL_REMOTE] = "other hosts: 'mta send --drain' or 'mta run'"
    };

    if (l->messages == 0)
        return EX_OK;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (l->waits[i] && !d->runs[i])
            fprintf(stderr, "mta queue: no process delivers mail for %s\n",
                    what[i]);
    fprintf(stderr, "mta queue: %" PRIu64 " message%s remain%s%s\n",
            l->messages, l->messages == 1 ? "" : "s",
            l->messages == 1 ? "s" : "", late ? ": the time is over" : "");
    return EX_TEMPFAIL;
}

int queue_drain(const struct options *o, const char *timeout)
{
    struct draining d = { .o = o };
    struct left l = { 0 };
    struct err e = { ERR_NONE, 0, "" };
    uint64_t until = UINT64_MAX;
    long long seconds;

    if (timeout != NULL &&
        conf_parse_time(span_of(timeout), &seconds, &e) != 0) {
        fprintf(stderr, "mta queue: --timeout: %s\n", e.text);
        return EX_USAGE;
    }
    int rc = queue_find(o);
    if (rc != EX_OK)
        return rc;
    if (timeout != NULL)
        until = clock_mono_ms() + (uint64_t)seconds * 1000;
    rc = wait_for_end(&d, until, &l, &e);
    if (d.shown)
        fputs("\r\033[K", stderr);
    if (rc >= 0)
        return report(&d, &l, rc > 0);
    queue_complain(o, &e);
    return EX_TEMPFAIL;
}
