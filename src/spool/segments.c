#include "spool/segments.h"

#include "base/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

struct spool_segment *spool_shelf_find(struct spool_store *s, uint64_t id)
{
    struct map_link *l = map_first(&s->by_id, map_hash(&id, sizeof id));

    while (l != NULL && MAP_ENTRY(l, struct spool_segment, by_id)->id != id)
        l = map_next(l);
    return l == NULL ? NULL : MAP_ENTRY(l, struct spool_segment, by_id);
}

struct spool_segment *spool_shelf_add(struct spool_store *s, uint64_t id)
{
    struct spool_segment *g = spool_shelf_find(s, id);

    if (g != NULL || (g = calloc(1, sizeof *g)) == NULL)
        return g;
    g->id = id;
    g->fd = -1;
    g->scanned = g->end = SPOOL_SEGMENT_HEADER;
    list_init(&g->items);
    list_push(&s->all, &g->link);
    list_push(&s->active, &g->active);
    map_add(&s->by_id, &g->by_id, map_hash(&id, sizeof id));
    s->nsegments++;
    return g;
}

void spool_shelf_resize(struct spool_store *s, struct spool_segment *g,
                        uint64_t size)
{
    s->disk_bytes += size - g->size;
    g->size = size;
}

/* --- descriptors ---------------------------------------------------------- */

static void close_file(struct spool_store *s, struct spool_segment *g)
{
    if (g->fd < 0)
        return;
    fs_close(g->fd);
    g->fd = -1;
    list_remove(&g->open);
    s->nopen--;
}

/* A pinned one stays: somebody reads from it. */
static void make_place(struct spool_store *s)
{
    for (struct list *l = s->open.next; l != &s->open; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, open);
        if (g->pins == 0) {
            close_file(s, g);
            return;
        }
    }
}

int spool_shelf_fd(struct spool_store *s, struct spool_segment *g,
                   struct err *e)
{
    char path[SPOOL_PATH];

    if (g->fd >= 0) {
        list_remove(&g->open);
        list_push(&s->open, &g->open);
        return g->fd;
    }
    if (s->nopen >= SPOOL_OPEN_FILES)
        make_place(s);
    spool_path(path, s->dir, g->id, SPOOL_SEG);
    int fd = fs_open(path, O_RDWR, 0);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    g->fd = spool_fd_high(fd);
    list_push(&s->open, &g->open);
    s->nopen++;
    return g->fd;
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

/* Out of every list.  The descriptor stays while it is pinned. */
static void take_off(struct spool_store *s, struct spool_segment *g)
{
    if (g->gone)
        return;
    g->gone = true;
    map_remove(&s->by_id, &g->by_id);
    list_remove(&g->link);
    list_remove(&g->active);
    list_remove(&g->dirty);
    s->disk_bytes -= g->size;
    s->nsegments--;
}

void spool_shelf_forget(struct spool_store *s, struct spool_segment *g)
{
    take_off(s, g);
    if (g->pins > 0)
        return;
    close_file(s, g);
    free_segment(g);
}

bool spool_shelf_vanished(struct spool_store *s, struct spool_segment *g,
                          const struct err *why)
{
    if (why->sys != ENOENT || g->live > 0)
        return false;
    spool_shelf_forget(s, g);
    return true;
}

int spool_shelf_sync_dir(struct spool_store *s, struct err *e)
{
    if (!s->dir_dirty)
        return 0;
    if (spool_dir_sync(s->dir, e) != 0)
        return -1;
    s->dir_dirty = false;
    return 0;
}

/* The unlink is synced within a second (spool_store_sync), as marks are: so
 * a power cut that undoes it brings back no more than it would have brought
 * back without it. */
static bool unlink_segment(struct spool_store *s, struct spool_segment *g)
{
    char path[SPOOL_PATH], aside[SPOOL_PATH];

    spool_path(path, s->dir, g->id, SPOOL_SEG);
    spool_path(aside, s->dir, g->id, SPOOL_BAD);
    int rc = g->damaged ? fs_rename(path, aside) : fs_unlink(path);
    if (rc != 0 && errno != ENOENT)
        return false; /* reclaim tries again */
    s->nbad += g->damaged;
    s->dir_dirty = true;
    return true;
}

void spool_shelf_settle(struct spool_store *s, struct spool_segment *g)
{
    if (!g->gone && (!g->closed || g->stuck || g->live > 0 ||
                     g->scanned < g->end || !unlink_segment(s, g)))
        return;
    spool_shelf_forget(s, g);
}
