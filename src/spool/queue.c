#include "spool/segments.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"
#include "spool/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SEGMENT_BUCKETS = 4096, LOOK_EVERY_MS = 2000 };

/* --- begin and end -------------------------------------------------------- */

static int take_lock(struct spool_store *s, const char *queue_dir,
                     struct err *e)
{
    char path[SPOOL_PATH];

    if (!os_path(path, sizeof path, queue_dir, "run/sender.lock"))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory");
    s->lock_fd = fs_open(path, O_RDWR | O_CREAT, 0600);
    if (s->lock_fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (fs_lock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_TEMP, errno, "lock %s: is another sender there?",
                       path);
    return 0;
}

int spool_store_open(struct spool_store **sp, const char *queue_dir,
                     struct err *e)
{
    struct spool_store *s = calloc(1, sizeof *s);

    *sp = NULL;
    if (s == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the queue");
    s->lock_fd = s->wake_fd = -1;
    list_init(&s->all);
    list_init(&s->active);
    list_init(&s->arrived);
    list_init(&s->open);
    list_init(&s->dirty);
    if (map_init(&s->by_id, SEGMENT_BUCKETS) != 0) {
        err_set(e, ERR_TEMP, 0, "no memory for the queue");
        goto out;
    }
    if (spool_segments_dir(s->dir, queue_dir, e) != 0 ||
        take_lock(s, queue_dir, e) != 0 ||
        (s->wake_fd = spool_wake_open(queue_dir, e)) < 0 ||
        spool_survey(s, true, e) != 0)
        goto out;
    *sp = s;
    return 0;
out:
    spool_store_close(&s);
    return -1;
}

/* Items are the owner's; they only lose their segment. */
static void drop_items(struct spool_segment *g)
{
    struct list *l;

    while ((l = list_pop(&g->items)) != NULL)
        LIST_ENTRY(l, struct spool_item, link)->segment = NULL;
}

void spool_store_close(struct spool_store **sp)
{
    struct spool_store *s = *sp;

    if (s == NULL)
        return;
    spool_store_sync(s, NULL);
    while (!list_empty(&s->all)) {
        struct spool_segment *g =
            LIST_ENTRY(s->all.next, struct spool_segment, link);
        drop_items(g);
        g->pins = 0;
        spool_shelf_forget(s, g);
    }
    spool_copies_free(&s->copies);
    map_done(&s->by_id);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->lock_fd >= 0)
        fs_close(s->lock_fd);
    free(s);
    *sp = NULL;
}

int spool_store_wake_fd(const struct spool_store *s)
{
    return s->wake_fd;
}

void spool_store_usage(const struct spool_store *s, struct spool_usage *u)
{
    *u = (struct spool_usage){ .segments = s->nsegments,
                               .disk_bytes = s->disk_bytes,
                               .live_bytes = s->live_bytes,
                               .messages = s->messages,
                               .damaged = s->nbad };
    for (struct list *l = s->all.next; l != &s->all; l = l->next)
        u->damaged += LIST_ENTRY(l, struct spool_segment, link)->damaged;
}

/* --- new records ---------------------------------------------------------- */

struct looking {
    struct spool_store *s;
    spool_found_fn *found;
    void *ctx;
    struct err *e;
};

/* Is it one that reclaim put there, with its item? */
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
    struct spool_store *s = k->s;

    g->solo |= (r->flags & SPOOL_SOLO) != 0;
    g->copies |= r->generation > 0;
    if ((r->flags & SPOOL_TORN) != 0 || is_own(g, at) ||
        spool_copies_beat(&s->copies, r, at))
        return 0;
    int waits = spool_walk_waits(&s->walk, r, at, k->e);
    if (waits <= 0)
        return waits;
    const struct spool_view v = { r, g->fd, at, &s->walk };
    struct spool_item *it = k->found(k->ctx, &v);
    if (it == NULL)
        return 1;
    it->rec = *r;
    spool_item_place(s, g, it, at);
    s->messages++;
    return 0;
}

static int scan_segment(struct looking *k, struct spool_segment *g)
{
    struct spool_store *s = k->s;
    struct spool_record r;
    uint64_t at;
    int rc;

    if (g->scanned >= g->end)
        return 0;
    if (spool_shelf_fd(s, g, k->e) < 0)
        return -1;
    spool_walk_start(&s->walk, g->fd, g->id, g->scanned, g->end);
    while ((rc = spool_walk_next(&s->walk, &r, &at, k->e)) == 1) {
        uint64_t next = s->walk.at;
        if ((rc = consider(k, g, &r, at)) != 0)
            return rc;
        g->scanned = next;
    }
    if (rc < 0)
        return -1;
    g->damaged |= s->walk.broken;
    g->scanned = g->end;
    return 0;
}

/* Before the first record is shown: which ids have newer copies? */
static int note_copies(struct spool_store *s, struct err *e)
{
    struct spool_record r;
    uint64_t at;

    for (struct list *l = s->active.next; l != &s->active; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, active);
        if (!g->copies)
            continue;
        if (spool_shelf_fd(s, g, e) < 0)
            return -1;
        spool_walk_start(&s->walk, g->fd, g->id, SPOOL_SEGMENT_HEADER, g->end);
        int rc;
        while ((rc = spool_walk_next(&s->walk, &r, &at, e)) == 1)
            if (r.generation > 0 && (r.flags & SPOOL_TORN) == 0 &&
                !spool_copies_note(&s->copies, &r, at))
                return err_set(e, ERR_TEMP, 0, "no memory for copies");
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* 1: stopped for want of memory. */
static int scan_active(struct looking *k)
{
    struct list *l, *next;
    struct err why;
    int rc = 0;

    for (l = k->s->active.next; l != &k->s->active; l = next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, active);
        next = l->next;
        struct looking one = { k->s, k->found, k->ctx, &why };
        int now = spool_refresh(k->s, g, false, &why);
        if (now == 0)
            now = scan_segment(&one, g);
        if (now > 0)
            return 1;
        if (now < 0 && spool_shelf_vanished(k->s, g, &why))
            continue;
        if (now < 0 && k->e != NULL)
            *k->e = why;
        rc = now < 0 ? -1 : rc;
        if (now < 0 || !g->closed || g->scanned < g->end)
            continue;
        list_remove(&g->active);
        spool_shelf_settle(k->s, g);
    }
    return rc;
}

int spool_store_scan(struct spool_store *s, spool_found_fn *found, void *ctx,
                     struct err *e)
{
    struct looking k = { s, found, ctx, e };
    int rc = 0;

    s->look |= spool_wake_drain(s->wake_fd);
    if (s->look || clock_mono_ms() - s->look_ms >= LOOK_EVERY_MS)
        rc = spool_survey(s, false, e);
    if (!s->noted && note_copies(s, e) != 0)
        return -1;
    s->noted = true;
    int now = scan_active(&k);
    if (now == 0 && !s->settled) {
        s->settled = true;
        spool_copies_free(&s->copies);
    }
    return now != 0 ? now : rc;
}
