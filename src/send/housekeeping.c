#include "send/housekeeping.h"

#include "base/os.h"
#include "log/log.h"
#include "send/own_host.h"
#include "spool/reclaim.h"

#include <errno.h>
#include <string.h>

enum {
    SCAN_MS = 5000,    /* the server wakes us; this is for lost wake-ups */
    SCAN_PAUSE_MS = 5, /* from one scan to the next */
    SYNC_MS = 1000,
    RECLAIM_MS = 3000,
    DEST_BUCKETS = 64 * 1024,
    LANE_BUCKETS = 8 * 1024,
    NOTICE_BLOCKS = 4096 /* 16 MiB */
};

/* --- opening --------------------------------------------------------------*/

static int make_memory(struct sched *s, struct err *e)
{
    s->messages = pool_new(sizeof(struct message), SCHED_MESSAGES_MAX);
    s->rcpts = pool_new(sizeof(struct rcpt), SCHED_RCPTS_MAX);
    s->blocks = chain_pool_new(NOTICE_BLOCKS);
    s->marks = mark_pool();
    if (s->messages == NULL || s->rcpts == NULL || s->blocks == NULL ||
        s->marks == NULL || map_init(&s->dests, DEST_BUCKETS) != 0 ||
        map_init(&s->lanes, LANE_BUCKETS) != 0)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the sender");
    return 0;
}

static int open_store(struct sched *s, struct err *e)
{
    const char *dir = s->conf->queue_dir;
    uint64_t until = 0;
    int rc;

    do
        rc = spool_queue_open(&s->queue, dir, e);
    while (rc != 0 && e->sys == EWOULDBLOCK && os_again(&until));
    return rc;
}

int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e)
{
    memset(s, 0, sizeof *s);
    s->conf = c;
    s->rule = (struct retry_rule){ (uint32_t)c->send.retry_min,
                                   (uint32_t)c->send.retry_max,
                                   (uint32_t)c->send.queue_lifetime };
    list_init(&s->ready);
    list_init(&s->unresolved);
    list_init(&s->idle);
    list_init(&s->opening);
    list_init(&s->notices);
    list_init(&s->owed);
    if (loop_new(&s->loop, wait_mask, e) != 0)
        return -1;
    s->start_ms = loop_now(s->loop);
    calendar_init(&s->calendar, sched_seconds(s));
    if (make_memory(s, e) != 0 || self_load(&s->self, c, e) != 0 ||
        local_open_conf(&s->local, s->conf, e) != 0 ||
        dns_open_conf(&s->dns, s->loop, s->conf, e) != 0 ||
        open_store(s, e) != 0)
        return -1;
    return spool_writer_open(&s->writer, c->queue_dir, e);
}

void sched_close(struct sched *s)
{
    if (s->dests.bucket != NULL && s->lanes.bucket != NULL)
        dest_free_all(s);
    map_done(&s->dests);
    map_done(&s->lanes);
    if (s->dns != NULL)
        dns_close(&s->dns);
    if (s->queue != NULL)
        spool_queue_close(&s->queue);
    spool_writer_close(&s->writer);
    local_close(&s->local);
    self_done(&s->self);
    pool_free(&s->messages);
    pool_free(&s->rcpts);
    pool_free(&s->blocks);
    pool_free(&s->marks);
    loop_free(&s->loop);
}

/* --- from time to time ----------------------------------------------------*/

static void scan(struct upkeep *u, struct sched *s, uint64_t now)
{
    struct err e;

    u->scanned = now;
    s->scan_now = false;
    int rc = intake_scan(s, &e);
    s->unseen = rc != 0;
    if (rc < 0)
        log_err(LOG_ERROR, "send.scan", &e);
    dest_sweep(s);
}

static void sync_marks(struct upkeep *u, struct sched *s, uint64_t now)
{
    struct err e;

    u->synced = now;
    mark_again(s);
    s->dirty = !list_empty(&s->owed);
    if (spool_queue_sync(s->queue, &e) != 0) {
        log_err(LOG_ERROR, "send.sync", &e);
        s->dirty = true; /* again in a second */
    }
}

static void reclaim(struct upkeep *u, struct sched *s, uint64_t now)
{
    struct err e;

    u->reclaimed = now;
    s->finished_some = false;
    int rc = spool_queue_reclaim(s->queue, s->writer, &e);
    if (rc < 0)
        log_err(LOG_ERROR, "send.reclaim", &e);
    u->reclaim_on = rc > 0;
    s->dirty = true; /* its unlinks are synced with the marks */
}

static bool is_time(uint64_t last, uint64_t every, uint64_t now)
{
    return now >= last + every;
}

void upkeep_turn(struct upkeep *u, struct sched *s)
{
    uint64_t now = loop_now(s->loop);

    if (s->scan_now || u->scanned == 0 || is_time(u->scanned, SCAN_MS, now))
        scan(u, s, now);
    if (s->dirty && is_time(u->synced, SYNC_MS, now))
        sync_marks(u, s, now);
    if (u->reclaim_on ||
        (s->finished_some && is_time(u->reclaimed, RECLAIM_MS, now)))
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

uint64_t upkeep_scan_pause(const struct upkeep *u, const struct sched *s)
{
    return left(u->scanned, SCAN_PAUSE_MS, loop_now(s->loop));
}

uint64_t upkeep_wait(const struct upkeep *u, const struct sched *s)
{
    uint64_t now = loop_now(s->loop);
    uint64_t ms = left(u->scanned, SCAN_MS, now);

    if (s->scan_now || u->reclaim_on)
        return 0;
    if (s->dirty)
        ms = least(ms, left(u->synced, SYNC_MS, now));
    if (s->finished_some)
        ms = least(ms, left(u->reclaimed, RECLAIM_MS, now));
    return ms;
}
