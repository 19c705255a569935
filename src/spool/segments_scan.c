/* segments_scan.c - find the segments and how far each may be read. */
#include "spool/segments_private.h"

#include "base/clock.h"
#include "base/fs.h"
#include "spool/recover_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

enum { STALE_SECONDS = 3600 };

/* --- one segment ---------------------------------------------------------- */

static int other_version(struct spool_segment *g,
                         const struct spool_segment_header *h, struct err *e)
{
    g->stuck = true;
    list_remove(&g->active);
    return spool_err_other(h, g->id, e);
}

/* Read the header.  Parts of it may be lost: then the file name gives the id,
 * and the checksums of the records show what the segment holds. */
static int read_header(struct spool_segment *g, struct spool_segment_header *h,
                       enum spool_check *check, struct err *e)
{
    if (spool_header_read(g->fd, h, check) != 0)
        return err_set(e, ERR_TEMP, errno, "read the header of a segment");
    if (*check == SPOOL_GOOD && h->id == g->id)
        return 0;
    if (*check == SPOOL_OTHER)
        return 0;
    h->damaged = *check != SPOOL_STATELESS || h->id != g->id;
    h->id = g->id;
    h->committed = SPOOL_SEGMENT_HEADER;
    h->closed = false;
    *check = SPOOL_BROKEN;
    return 0;
}

/* Its writer has left: all that is committed is there for good.  A file that
 * is shorter than that was cut by another program. */
static int take_closed(struct spool_queue *q, struct spool_segment *g,
                       const struct spool_segment_header *h, struct err *e)
{
    struct stat st;

    if (fstat(g->fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at a segment");
    g->lost = h->unsynced && g->end > SPOOL_SEGMENT_HEADER;
    q->unsynced |= g->lost;
    g->closed = true;
    g->moved |= h->moved;
    g->children = h->children;
    g->damaged |= h->damaged || h->committed > (uint64_t)st.st_size;
    g->end = h->committed;
    if (g->end > (uint64_t)st.st_size)
        g->end = (uint64_t)st.st_size;
    spool_segments_resize(q, g, (uint64_t)st.st_size);
    return 0;
}

/* The lock is held here.  The writer may have closed the segment just
 * before. */
static int take_unlocked(struct spool_queue *q, struct spool_segment *g,
                         struct err *e)
{
    struct spool_file f = { .dir = q->dir, .fd = g->fd };
    enum spool_check check;

    if (read_header(g, &f.h, &check, e) != 0)
        return -1;
    if (check == SPOOL_OTHER)
        return other_version(g, &f.h, e);
    if (!f.h.closed && spool_recover(&f, e) != 0)
        return -1;
    return take_closed(q, g, &f.h, e);
}

/* 1: the file is gone, because an empty one is removed by its writer. */
static int probe_lock(struct spool_queue *q, struct spool_segment *g,
                      struct err *e)
{
    struct stat st;

    if (fstat(g->fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at a segment");
    if (st.st_nlink == 0)
        return 1;
    spool_segments_resize(q, g, (uint64_t)st.st_size);
    if (fs_lock(g->fd, LOCK_EX | LOCK_NB) != 0)
        return 0; /* its writer is running */
    int rc = take_unlocked(q, g, e);
    fs_lock(g->fd, LOCK_UN);
    return rc;
}

int spool_segments_refresh(struct spool_queue *q, struct spool_segment *g,
                           bool probe, struct err *e)
{
    struct spool_segment_header h;
    enum spool_check check;
    int rc = 0;

    if (g->closed)
        return 0;
    if (spool_segments_fd(q, g, e) < 0 || read_header(g, &h, &check, e) != 0)
        return -1;
    if (check == SPOOL_OTHER)
        return other_version(g, &h, e);
    if (h.closed)
        return take_closed(q, g, &h, e);
    if (h.committed > g->end)
        g->end = h.committed;
    if (probe)
        rc = probe_lock(q, g, e);
    if (rc == 1 && g->live == 0)
        spool_segments_forget(q, g);
    return rc < 0 ? -1 : 0;
}

/* --- the directory -------------------------------------------------------- */

/* Remove a .new file left by a crash: a running writer would hold its lock.
 * Check the age, because a writer has no lock yet between open and flock. */
static void remove_stale(struct spool_queue *q, uint64_t id)
{
    char path[SPOOL_PATH];
    struct stat st;

    spool_path(path, q->dir, id, SPOOL_NEW);
    if (lstat(path, &st) != 0 || st.st_mtime > time(NULL) - STALE_SECONDS)
        return;
    int fd = fs_open(path, O_RDWR | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0)
        return;
    if (fs_lock(fd, LOCK_EX | LOCK_NB) == 0)
        fs_unlink(path);
    fs_close(fd);
}

static int on_entry(void *ctx, uint64_t id, enum spool_kind kind, struct err *e)
{
    struct spool_queue *q = ctx;

    q->nbad += kind == SPOOL_BAD;
    if (kind == SPOOL_NEW)
        remove_stale(q, id);
    if (kind != SPOOL_SEG || spool_segments_find(q, id) != NULL)
        return 0;
    struct spool_segment *g = spool_segments_add(q, id);
    if (g == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a segment");
    list_remove(&g->active);
    list_push(&q->arrived, &g->active);
    q->narrived++;
    return 0;
}

static int by_age(const void *a, const void *b)
{
    uint64_t x = (*(struct spool_segment *const *)a)->id;
    uint64_t y = (*(struct spool_segment *const *)b)->id;

    return x < y ? -1 : x > y;
}

/* Sort the segments, oldest first; without memory they stay unsorted. */
static void line_up(struct spool_queue *q)
{
    struct spool_segment **row = calloc(q->narrived + 1, sizeof *row);
    size_t n = 0;

    if (row != NULL) {
        struct list *l;
        while ((l = list_pop(&q->arrived)) != NULL)
            row[n++] = LIST_ENTRY(l, struct spool_segment, active);
        qsort(row, n, sizeof *row, by_age);
        for (size_t i = 0; i < n; i++)
            list_push(&q->active, &row[i]->active);
        free(row);
    }
    list_splice(&q->active, &q->arrived);
    q->narrived = 0;
}

int spool_segments_scan(struct spool_queue *q, bool strict, struct err *e)
{
    struct list *l, *next;
    struct err why;
    int rc = 0;

    q->look = false;
    q->look_ms = clock_mono_ms();
    q->nbad = 0;
    if (spool_each(q->dir, on_entry, q, e) != 0)
        rc = -1;
    line_up(q);
    for (l = q->active.next; l != &q->active; l = next) {
        next = l->next;
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, active);
        if (spool_segments_refresh(q, g, true, &why) == 0)
            continue;
        if (spool_segments_vanished(q, g, &why))
            continue;
        if (rc == 0 && (!strict || why.kind == ERR_PERM)) {
            rc = -1;
            if (e != NULL)
                *e = why;
        }
    }
    return rc;
}
