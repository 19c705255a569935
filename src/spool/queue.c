#include "spool/queue.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"
#include "spool/unlink_order_private.h"
#include "spool/wake_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SEGMENT_BUCKETS = 4096, LOOK_EVERY_MS = 2000 };

/* --- begin and end -------------------------------------------------------- */

static int take_lock(struct spool_queue *q, struct err *e)
{
    char path[SPOOL_PATH];

    if (!os_path(path, sizeof path, q->dir, "lock"))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory");
    q->lock_fd = fs_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (q->lock_fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (fs_lock(q->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_TEMP, errno, "lock %s: is another sender there?",
                       path);
    return 0;
}

int spool_queue_open(struct spool_queue **qp, const char *queue_dir,
                     enum spool_name name, struct err *e)
{
    struct spool_queue *q = calloc(1, sizeof *q);

    *qp = NULL;
    if (q == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the queue");
    q->lock_fd = q->wake_fd = -1;
    q->name = name;
    list_init(&q->all);
    list_init(&q->active);
    list_init(&q->arrived);
    list_init(&q->open);
    list_init(&q->dirty);
    list_init(&q->unlinked);
    list_init(&q->cursors);
    q->reclaim_items = SPOOL_RECLAIM_ITEMS;
    if (map_init(&q->by_id, SEGMENT_BUCKETS) != 0) {
        err_set(e, ERR_TEMP, 0, "no memory for the queue");
        goto out;
    }
    if (spool_dir(q->dir, queue_dir, name, e) != 0 || take_lock(q, e) != 0 ||
        (q->wake_fd = spool_wake_open(q->dir, e)) < 0 ||
        spool_segments_scan(q, true, e) != 0)
        goto out;
    *qp = q;
    return 0;
out:
    spool_queue_close(&q);
    return -1;
}

/* Detach the messages, which are the owner's, from the segment. */
static void drop_messages(struct spool_segment *g)
{
    struct list *l;

    while ((l = list_pop(&g->messages)) != NULL)
        LIST_ENTRY(l, struct spool_message, link)->segment = NULL;
}

void spool_queue_close(struct spool_queue **qp)
{
    struct spool_queue *q = *qp;

    if (q == NULL)
        return;
    spool_queue_sync(q, NULL);
    while (!list_empty(&q->all)) {
        struct spool_segment *g =
            LIST_ENTRY(q->all.next, struct spool_segment, link);
        drop_messages(g);
        g->pins = 0;
        spool_segments_forget(q, g);
    }
    spool_recent_free(&q->recent);
    spool_newest_free(&q->newest);
    map_done(&q->by_id);
    if (q->wake_fd >= 0)
        close(q->wake_fd);
    if (q->lock_fd >= 0)
        fs_close(q->lock_fd);
    free(q);
    *qp = NULL;
}

int spool_queue_wake_fd(const struct spool_queue *q)
{
    return q->wake_fd;
}

void spool_queue_usage(const struct spool_queue *q, struct spool_usage *u)
{
    *u = (struct spool_usage){ .segments = q->nsegments,
                               .disk_bytes = q->disk_bytes,
                               .live_bytes = q->live_bytes,
                               .messages = q->messages,
                               .damaged = q->nbad };
    for (struct list *l = q->all.next; l != &q->all; l = l->next)
        u->damaged += LIST_ENTRY(l, struct spool_segment, link)->damaged;
}

/* --- new records ---------------------------------------------------------- */

struct looking {
    struct spool_queue *q;
    spool_found_fn *found;
    void *ctx;
    struct err *e;
};

/* Is it a record that reclaim moved there together with its message? */
static bool is_own(struct spool_segment *g, uint64_t at)
{
    struct spool_range *o;

    while ((o = g->own) != NULL && at >= o->to) {
        g->own = o->next;
        free(o);
    }
    return o != NULL && at >= o->from;
}

/* 0: go on; 1: the owner has no memory; -1 with *e. */
static int consider(struct looking *k, struct spool_segment *g,
                    const struct spool_record *r, uint64_t at)
{
    struct spool_queue *q = k->q;
    uint64_t where;

    g->large |= (r->flags & SPOOL_LARGE) != 0;
    g->moved |= r->generation > 0;
    if ((r->flags & SPOOL_TORN) != 0 || is_own(g, at))
        return 0;
    if (spool_newest_beats(&q->newest, r, at, &where)) {
        struct spool_segment *newer = spool_segments_find(q, where);
        return newer == NULL || newer == g || spool_unlink_order_note(g, newer)
                   ? 0
                   : 1;
    }
    int waits = spool_records_waits(&q->records, r, at, k->e);
    if (waits <= 0)
        return waits;
    const struct spool_reader v = { r, q->name, g->fd, at, &q->records };
    struct spool_message *m = k->found(k->ctx, &v);
    if (m == NULL)
        return 1;
    m->rec = *r;
    spool_message_place(q, g, m, at);
    q->messages++;
    return 0;
}

static int scan_segment(struct looking *k, struct spool_segment *g)
{
    struct spool_queue *q = k->q;
    struct spool_record r;
    uint64_t at;
    int rc;

    if (g->scanned >= g->end)
        return 0;
    if (spool_segments_fd(q, g, k->e) < 0)
        return -1;
    spool_records_start(&q->records, g->fd, g->id, g->scanned, g->end);
    while ((rc = spool_records_next(&q->records, &r, &at, k->e)) == 1) {
        uint64_t next = q->records.at;
        if ((rc = consider(k, g, &r, at)) != 0)
            return rc;
        g->scanned = next;
    }
    if (rc < 0)
        return -1;
    g->damaged |= q->records.broken;
    g->scanned = g->end;
    return 0;
}

/* Note which ids have newer copies, before the first record is shown. */
static int note_moved(struct spool_queue *q, struct err *e)
{
    struct spool_record r;
    uint64_t at;

    for (struct list *l = q->active.next; l != &q->active; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, active);
        if (!g->moved)
            continue;
        if (spool_segments_fd(q, g, e) < 0)
            return -1;
        spool_records_start(&q->records, g->fd, g->id, SPOOL_SEGMENT_HEADER,
                            g->end);
        int rc;
        while ((rc = spool_records_next(&q->records, &r, &at, e)) == 1)
            if (r.generation > 0 && (r.flags & SPOOL_TORN) == 0 &&
                !spool_newest_note(&q->newest, &r, at))
                return err_set(e, ERR_TEMP, 0, "no memory for moved messages");
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* 1: stopped because memory is short. */
static int scan_active(struct looking *k)
{
    struct list *l, *next;
    struct err why;
    int rc = 0;

    for (l = k->q->active.next; l != &k->q->active; l = next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, active);
        next = l->next;
        struct looking one = { k->q, k->found, k->ctx, &why };
        int now = spool_segments_refresh(k->q, g, false, &why);
        if (now == 0)
            now = scan_segment(&one, g);
        if (now > 0)
            return 1;
        if (now < 0 && spool_segments_vanished(k->q, g, &why))
            continue;
        if (now < 0 && k->e != NULL)
            *k->e = why;
        rc = now < 0 ? -1 : rc;
        if (now < 0 || !g->closed || g->scanned < g->end)
            continue;
        list_remove(&g->active);
        spool_segments_settle(k->q, g);
    }
    return rc;
}

int spool_queue_scan(struct spool_queue *q, spool_found_fn *found, void *ctx,
                     struct err *e)
{
    struct looking k = { q, found, ctx, e };
    bool look = spool_wake_drain(q->wake_fd) || q->look ||
                clock_mono_ms() - q->look_ms >= LOOK_EVERY_MS;
    int rc = look ? spool_segments_scan(q, false, e) : 0;

    if (!q->noted && note_moved(q, e) != 0)
        return -1;
    q->noted = true;
    int now = scan_active(&k);
    if (now == 0 && !q->settled) {
        q->settled = true;
        spool_newest_free(&q->newest);
        spool_segments_settle_all(q);
    } else if (look && q->unconfirmed) {
        q->unconfirmed = false;
        spool_segments_settle_all(q);
    }
    return now != 0 ? now : rc;
}
