#include "spool/segments_private.h"

#include "base/fs.h"
#include "spool/unlink_order_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

struct spool_segment *spool_segments_find(struct spool_queue *q, uint64_t id)
{
    struct map_link *l = map_first(&q->by_id, map_hash(&id, sizeof id));

    while (l != NULL && MAP_ENTRY(l, struct spool_segment, by_id)->id != id)
        l = map_next(l);
    return l == NULL ? NULL : MAP_ENTRY(l, struct spool_segment, by_id);
}

struct spool_segment *spool_segments_add(struct spool_queue *q, uint64_t id)
{
    struct spool_segment *g = spool_segments_find(q, id);

    if (g != NULL || (g = calloc(1, sizeof *g)) == NULL)
        return g;
    g->id = id;
    g->fd = g->read_fd = -1;
    g->scanned = g->end = SPOOL_SEGMENT_HEADER;
    list_init(&g->messages);
    list_init(&g->moved_out);
    list_init(&g->moved_in);
    list_push(&q->all, &g->link);
    list_push(&q->active, &g->active);
    map_add(&q->by_id, &g->by_id, map_hash(&id, sizeof id));
    q->nsegments++;
    return g;
}

void spool_segments_resize(struct spool_queue *q, struct spool_segment *g,
                           uint64_t size)
{
    q->disk_bytes += size - g->size;
    g->size = size;
}

/* --- descriptors ---------------------------------------------------------- */

static void close_file(struct spool_queue *q, struct spool_segment *g)
{
    if (g->fd < 0)
        return;
    fs_close(g->fd);
    if (g->read_fd >= 0)
        fs_close(g->read_fd);
    g->fd = g->read_fd = -1;
    list_remove(&g->open);
    q->nopen--;
}

/* A pinned one stays: a delivery reads from it. */
static void make_place(struct spool_queue *q)
{
    for (struct list *l = q->open.next; l != &q->open; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, open);
        if (g->pins == 0) {
            close_file(q, g);
            return;
        }
    }
}

int spool_segments_fd(struct spool_queue *q, struct spool_segment *g,
                      struct err *e)
{
    char path[SPOOL_PATH];

    if (g->fd >= 0) {
        list_remove(&g->open);
        list_push(&q->open, &g->open);
        return g->fd;
    }
    if (q->nopen >= SPOOL_OPEN_FILES)
        make_place(q);
    spool_path(path, q->dir, g->id, SPOOL_SEG);
    int fd = fs_open(path, O_RDWR | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    g->fd = spool_fd_high(fd);
    list_push(&q->open, &g->open);
    q->nopen++;
    return g->fd;
}

int spool_segments_read_fd(struct spool_queue *q, struct spool_segment *g,
                           struct err *e)
{
    char path[SPOOL_PATH];

    if (g->read_fd >= 0)
        return g->read_fd;
    spool_path(path, q->dir, g->id, SPOOL_SEG);
    int fd = fs_open(path, O_RDONLY | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    g->read_fd = spool_fd_high(fd);
    return g->read_fd;
}

/* --- the end of a segment ------------------------------------------------- */

static void free_segment(struct spool_segment *g)
{
    struct spool_range *next;

    for (; g->own != NULL; g->own = next) {
        next = g->own->next;
        free(g->own);
    }
    free(g);
}

/* Remove the segment from every list.  The descriptor stays while it is
 * pinned. */
static void take_off(struct spool_queue *q, struct spool_segment *g)
{
    if (g->gone)
        return;
    g->gone = true;
    spool_cursors_leave_segment(q, g);
    map_remove(&q->by_id, &g->by_id);
    list_remove(&g->link);
    list_remove(&g->active);
    list_remove(&g->dirty);
    spool_unlink_order_gone(q, g);
    q->disk_bytes -= g->size;
    q->nsegments--;
}

void spool_segments_forget(struct spool_queue *q, struct spool_segment *g)
{
    take_off(q, g);
    if (g->pins > 0)
        return;
    close_file(q, g);
    free_segment(g);
}

bool spool_segments_vanished(struct spool_queue *q, struct spool_segment *g,
                             const struct err *why)
{
    if (why->sys != ENOENT || g->live > 0)
        return false;
    spool_segments_forget(q, g);
    return true;
}

int spool_segments_sync_dir(struct spool_queue *q, struct err *e)
{
    if (!q->dir_dirty)
        return 0;
    if (spool_dir_sync(q->dir, e) != 0)
        return -1;
    q->dir_dirty = false;
    spool_unlink_order_synced(q);
    return 0;
}

/* Unlink the segment.  spool_queue_sync() syncs that within a second, as it
 * does slots; so a power cut that undoes the unlink brings back no more
 * messages than lost slots would. */
static bool unlink_segment(struct spool_queue *q, struct spool_segment *g)
{
    char path[SPOOL_PATH], aside[SPOOL_PATH];

    spool_path(path, q->dir, g->id, SPOOL_SEG);
    spool_path(aside, q->dir, g->id, SPOOL_BAD);
    int rc = g->damaged ? fs_rename(path, aside) : fs_unlink(path);
    if (rc != 0 && errno != ENOENT)
        return false; /* tried again by reclaim */
    q->nbad += g->damaged;
    q->dir_dirty = true;
    return true;
}

/* The word advances while another process, which need not run, confirms.  What
 * cannot be read is not confirmed. */
bool spool_segments_unconfirmed(struct spool_queue *q, struct spool_segment *g)
{
    if (g->children == 0 || g->confirmed >= g->end ||
        g->end == SPOOL_SEGMENT_HEADER)
        return false;
    if (spool_segments_fd(q, g, NULL) < 0 ||
        spool_confirmed_read(g->fd, g->id, &g->confirmed) != 0)
        g->confirmed = 0;
    q->unconfirmed |= g->confirmed < g->end;
    return g->confirmed < g->end;
}

void spool_segments_settle(struct spool_queue *q, struct spool_segment *g)
{
    if (!g->gone && (!g->closed || g->stuck || g->live > 0 ||
                     g->scanned < g->end || spool_unlink_order_waits(q, g) ||
                     spool_segments_unconfirmed(q, g) || !unlink_segment(q, g)))
        return;
    spool_segments_forget(q, g);
}

/* Remove segments that could not be removed when their last message was
 * done. */
void spool_segments_settle_all(struct spool_queue *q)
{
    for (struct list *l = q->all.next, *next; l != &q->all; l = next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        next = l->next;
        if (g->pins == 0)
            spool_segments_settle(q, g);
    }
}
