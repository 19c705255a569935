#include "send/housekeeping.h"

#include "base/os.h"
#include "log/log.h"
#include "send/own_host.h"
#include "send/queue_scan.h"
#include "send/slots.h"
#include "spool/reclaim.h"

#include <errno.h>
#include <string.h>

enum {
    SCAN_MS = 5000,    /* in case a wake-up of the server was lost */
    SCAN_PAUSE_MS = 5, /* from one scan to the next */
    SYNC_MS = 1000,
    RECLAIM_MS = 3000
};

static void scan(struct housekeeping *u, struct sched *s, uint64_t now)
{
    struct err e;

    u->scanned = now;
    s->scan.wanted = false;
    int rc = queue_scan(s, &e);
    s->scan.incomplete = rc != 0;
    if (rc < 0)
        log_err(LOG_ERROR, "send.scan", &e);
    destination_sweep(s);
}

static void sync_marks(struct housekeeping *u, struct sched *s, uint64_t now)
{
    struct err e;

    u->synced = now;
    slots_retry(s);
    s->slot.dirty = !list_empty(&s->slot.unwritten);
    if (spool_queue_sync(s->queue, &e) != 0) {
        log_err(LOG_ERROR, "send.sync", &e);
        s->slot.dirty = true; /* again in a second */
    }
}

static void reclaim(struct housekeeping *u, struct sched *s, uint64_t now)
{
    struct err e;

    u->reclaimed = now;
    s->memory.reclaimable = false;
    int rc = spool_queue_reclaim(s->queue, s->writer, &e);
    if (rc < 0)
        log_err(LOG_ERROR, "send.reclaim", &e);
    u->reclaim_on = rc > 0;
    s->slot.dirty = true; /* its unlinks are synced with the marks */
}

static bool is_time(uint64_t last, uint64_t every, uint64_t now)
{
    return now >= last + every;
}

void housekeeping_run(struct housekeeping *u, struct sched *s)
{
    uint64_t now = loop_now(s->loop);

    if (s->scan.wanted || u->scanned == 0 || is_time(u->scanned, SCAN_MS, now))
        scan(u, s, now);
    if (s->slot.dirty && is_time(u->synced, SYNC_MS, now))
        sync_marks(u, s, now);
    if (u->reclaim_on ||
        (s->memory.reclaimable && is_time(u->reclaimed, RECLAIM_MS, now)))
        reclaim(u, s, now);
}

static uint64_t left(uint64_t last, uint64_t every, uint64_t now)
{
    return now < last + every ? last + every - now : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t housekeeping_scan_pause(const struct housekeeping *u,
                                 const struct sched *s)
{
    return left(u->scanned, SCAN_PAUSE_MS, loop_now(s->loop));
}

uint64_t housekeeping_wait(const struct housekeeping *u, const struct sched *s)
{
    uint64_t now = loop_now(s->loop);
    uint64_t ms = left(u->scanned, SCAN_MS, now);

    if (s->scan.wanted || u->reclaim_on)
        return 0;
    if (s->slot.dirty)
        ms = least(ms, left(u->synced, SYNC_MS, now));
    if (s->memory.reclaimable)
        ms = least(ms, left(u->reclaimed, RECLAIM_MS, now));
    return ms;
}
