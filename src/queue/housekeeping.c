#include "queue/housekeeping.h"

#include "base/os.h"
#include "log/log.h"
#include "queue/handover.h"
#include "queue/held.h"
#include "queue/history.h"
#include "queue/scan.h"
#include "queue/slots.h"
#include "spool/reclaim.h"

#include <errno.h>
#include <string.h>

enum {
    SCAN_MS = 5000,    /* in case a wake-up of the server was lost */
    SCAN_PAUSE_MS = 5, /* from one scan to the next */
    SYNC_MS = 1000,
    RECLAIM_MS = 3000,
    HISTORY_MS = 100
};

static void scan(struct housekeeping *u, struct queue *q, uint64_t now)
{
    struct err e;

    u->scanned = now;
    q->scan.wanted = false;
    int rc = queue_scan(q, &e);
    q->scan.incomplete = rc != 0;
    if (rc < 0)
        queue_log_fault(q, "queue.scan", &e);
}

static void sync_marks(struct housekeeping *u, struct queue *q, uint64_t now)
{
    struct err e;

    u->synced = now;
    slots_retry(q);
    q->slot.dirty = !list_empty(&q->slot.unwritten);
    if (queue_confirm(q, &e) != 0) {
        queue_log_fault(q, "queue.sync", &e);
        q->slot.dirty = true; /* again in a second */
    }
}

static void reclaim(struct housekeeping *u, struct queue *q, uint64_t now)
{
    struct err e;

    u->reclaimed = now;
    q->memory.reclaimable = false;
    int rc = spool_queue_reclaim(q->spool, q->writer[q->name], &e);
    if (rc < 0)
        queue_log_fault(q, "queue.reclaim", &e);
    u->reclaim_on = rc > 0;
    q->slot.dirty = true; /* its unlinks are synced with the marks */
}

/* Beyond that, no recipient is handed over before the next sync. */
static bool are_many_unconfirmed(const struct queue *q)
{
    return q->handover.unconfirmed >= SPOOL_UNCONFIRMED_MAX / 4 * 3;
}

static bool is_time(uint64_t last, uint64_t every, uint64_t now)
{
    return now >= last + every;
}

/* No process waits for it, and a write costs as much as the rest of a turn in
 * which one message leaves. */
static void write_history(struct housekeeping *u, struct queue *q, uint64_t now)
{
    struct err e;

    if (!history_waits(q->history) || !is_time(u->noted, HISTORY_MS, now))
        return;
    u->noted = now;
    if (history_flush(q->history, &e) != 0)
        queue_log_fault(q, "queue.unrecorded", &e);
}

int housekeeping_run(struct housekeeping *u, struct queue *q, struct err *e)
{
    uint64_t now = loop_now(q->loop);

    held_report(q);
    write_history(u, q, now);
    if (q->scan.wanted || u->scanned == 0 || is_time(u->scanned, SCAN_MS, now))
        scan(u, q, now);
    if (q->slot.dirty &&
        (is_time(u->synced, SYNC_MS, now) || are_many_unconfirmed(q)))
        sync_marks(u, q, now);
    if (u->reclaim_on ||
        (q->memory.reclaimable && is_time(u->reclaimed, RECLAIM_MS, now)))
        reclaim(u, q, now);
    return queue_is_lost(q, e) ? -1 : 0;
}

static uint64_t left(uint64_t last, uint64_t every, uint64_t now)
{
    return now < last + every ? last + every - now : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Servers under load wake a consumer at every commit.  A scan that covers many
 * commits costs no more than a scan for one. */
static void on_wake(struct loop_io *io, unsigned ready)
{
    struct housekeeping *u = LOOP_ENTRY(io, struct housekeeping, wake);
    struct loop *loop = u->q->loop;
    uint64_t pause = left(u->scanned, SCAN_PAUSE_MS, loop_now(loop));

    (void)ready;
    u->q->scan.wanted = pause == 0;
    if (pause == 0)
        return;
    (void)loop_watch(loop, io, 0, NULL);
    loop_timer_set(loop, &u->pause, pause);
}

static void on_pause_over(struct loop_timer *t)
{
    struct housekeeping *u = LOOP_ENTRY(t, struct housekeeping, pause);

    u->q->scan.wanted = true;
    (void)loop_watch(u->q->loop, &u->wake, LOOP_READ, NULL); /* fd fits */
}

int housekeeping_watch(struct housekeeping *u, struct queue *q, struct err *e)
{
    int fd = spool_queue_wake_fd(q->spool);

    u->q = q;
    u->pause.fn = on_pause_over;
    u->wake = (struct loop_io){ .fd = fd, .fn = on_wake };
    /* without a FIFO the periodic scan replaces it */
    return fd < 0 ? 0 : loop_watch(q->loop, &u->wake, LOOP_READ, e);
}

uint64_t housekeeping_wait(const struct housekeeping *u, const struct queue *q)
{
    uint64_t now = loop_now(q->loop);
    uint64_t ms = left(u->scanned, SCAN_MS, now);

    if (q->scan.wanted || u->reclaim_on || are_many_unconfirmed(q))
        return 0;
    if (history_waits(q->history))
        ms = least(ms, left(u->noted, HISTORY_MS, now));
    if (q->slot.dirty)
        ms = least(ms, left(u->synced, SYNC_MS, now));
    if (q->memory.reclaimable)
        ms = least(ms, left(u->reclaimed, RECLAIM_MS, now));
    return ms;
}
