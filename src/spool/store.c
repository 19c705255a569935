/* store.c - find what is in the queue: segments, recovery, new records. */
#include "spool/store_state.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SEGMENT_BUCKETS = 4096,
    MOVED_BUCKETS = 1024,
    RESCAN_MS = 5000,
    STALE_NEW_SECONDS = 3600
};

/* --- segments -------------------------------------------------------- */

static struct spool_segment *find_segment(struct spool_store *s, uint64_t id)
{
    struct map_link *l = map_first(&s->segments, map_hash(&id, sizeof id));

    while (l != NULL && MAP_ENTRY(l, struct spool_segment, by_id)->id != id)
        l = map_next(l);
    return l == NULL ? NULL : MAP_ENTRY(l, struct spool_segment, by_id);
}

struct spool_segment *store_segment(struct spool_store *s, uint64_t id,
                                    struct err *e)
{
    struct spool_segment *g = find_segment(s, id);

    if (g != NULL)
        return g;
    g = calloc(1, sizeof *g);
    if (g == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory for a segment");
        return NULL;
    }
    g->id = id;
    g->fd = -1;
    g->scanned = g->end = SPOOL_SEGMENT_HEADER;
    list_init(&g->items);
    list_push(&s->all, &g->link);
    map_add(&s->segments, &g->by_id, map_hash(&id, sizeof id));
    return g;
}

static void close_fd(struct spool_store *s, struct spool_segment *g)
{
    if (g->fd < 0)
        return;
    fs_close(g->fd);
    g->fd = -1;
    list_remove(&g->used);
    s->nopen--;
}

static void forget_segment(struct spool_store *s, struct spool_segment *g)
{
    close_fd(s, g);
    list_remove(&g->link);
    list_remove(&g->dirty);
    map_remove(&s->segments, &g->by_id);
    free(g);
}

/* Low numbers belong to sockets, which select() must be able to name. */
static int move_up(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE);

    if (high < 0)
        return fd;
    close(fd);
    return high;
}

static void close_one(struct spool_store *s)
{
    for (struct list *l = s->used.next; l != &s->used; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, used);
        if (g->pins > 0)
            continue;
        if (list_linked(&g->dirty) && fs_fdatasync(g->fd) == 0)
            list_remove(&g->dirty);
        close_fd(s, g);
        return;
    }
}

int store_fd(struct spool_store *s, struct spool_segment *g, struct err *e)
{
    struct spool_segment_header h;
    char path[PATH_MAX];

    if (g->fd >= 0) {
        list_remove(&g->used);
        list_push(&s->used, &g->used);
        return g->fd;
    }
    if (s->nopen >= STORE_OPEN_FILES)
        close_one(s);
    segment_path(path, s->dir, g->id, "seg");
    int fd = scan_open(path, O_RDWR, &h, e);
    if (fd < 0)
        return -1;
    g->fd = move_up(fd);
    list_push(&s->used, &g->used);
    s->nopen++;
    return g->fd;
}

void store_drop_if_dead(struct spool_store *s, struct spool_segment *g)
{
    char path[PATH_MAX], aside[PATH_MAX];

    if (!g->closed || g->live_items > 0 || g->pins > 0 || g->scanned < g->end)
        return;
    segment_path(path, s->dir, g->id, "seg");
    segment_path(aside, s->dir, g->id, "bad");
    /* Marks that a power cut takes with it, and an unlink that it undoes,
     * can only make a duplicate: RFC 5321 6.1. */
    if (g->damaged ? fs_rename(path, aside) != 0 : fs_unlink(path) != 0) {
        if (errno != ENOENT)
            return; /* the next directory scan tries again */
    }
    forget_segment(s, g);
}

/* --- generations ----------------------------------------------------- */

static uint64_t hash_of(struct msg_id id)
{
    uint64_t key[2] = { id.base, id.n };

    return map_hash(key, sizeof key);
}

struct moved *store_find_moved(struct spool_store *s, struct msg_id id)
{
    struct map_link *l = map_first(&s->moved, hash_of(id));

    while (l != NULL && !msg_id_eq(MAP_ENTRY(l, struct moved, link)->id, id))
        l = map_next(l);
    return l == NULL ? NULL : MAP_ENTRY(l, struct moved, link);
}

struct moved *store_note_moved(struct spool_store *s, struct msg_id id,
                               uint32_t generation, struct err *e)
{
    struct moved *m = store_find_moved(s, id);

    if (m == NULL) {
        m = calloc(1, sizeof *m);
        if (m == NULL) {
            err_set(e, ERR_TEMP, 0, "no memory");
            return NULL;
        }
        m->id = id;
        map_add(&s->moved, &m->link, hash_of(id));
    }
    if (generation > m->generation)
        m->generation = generation;
    return m;
}

/* --- items ----------------------------------------------------------- */

void store_place_item(struct spool_segment *g, struct spool_item *it,
                      const struct spool_record *r, uint64_t at)
{
    it->segment = g;
    it->at = at;
    it->rec = *r;
    list_push(&g->items, &it->link);
    g->live_items++;
    g->live_bytes += r->length;
}

void store_displace_item(struct spool_item *it)
{
    list_remove(&it->link);
    it->segment->live_items--;
    it->segment->live_bytes -= it->rec.length;
    it->segment = NULL;
}

/* --- looking for records --------------------------------------------- */

static int read_state(struct spool_segment *g, struct spool_segment_header *h,
                      struct err *e)
{
    unsigned char raw[SPOOL_SEGMENT_HEADER];
    struct stat st;

    if (fs_pread_all(g->fd, raw, sizeof raw, 0) != 0 || fstat(g->fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "read the header of a segment");
    if (!spool_segment_header_decode(h, raw))
        return err_set(e, ERR_PERM, 0, "a segment lost its header");
    g->disk_bytes = (uint64_t)st.st_size;
    return 0;
}

/* Its writer is gone without leaving in order: checksums say how far it got.
 * Complete records that were never acknowledged count too; what is torn goes.
 * An unreadable record before the committed length is damage, not a tear. */
static int recover(struct spool_store *s, struct spool_segment *g,
                   const struct spool_segment_header *h, struct err *e)
{
    struct segment_file f = { g->fd, g->id, h->created };
    struct spool_record r;
    uint64_t at;
    int rc;

    scan_begin(&s->scan, g->fd, g->id, SPOOL_SEGMENT_HEADER, g->disk_bytes);
    s->scan.verify = true;
    s->scan.sure = h->committed;
    while ((rc = scan_next(&s->scan, &r, &at, e)) > 0)
        ;
    if (rc < 0)
        return -1;
    g->end = s->scan.at;
    g->damaged = s->scan.damaged;
    if (!g->damaged) {
        if (fs_truncate(g->fd, (off_t)g->end) != 0 ||
            segment_write_state(&f, g->end, true) != 0)
            return err_set(e, ERR_TEMP, errno, "close a segment");
        g->disk_bytes = g->end;
    }
    g->closed = true;
    return 0;
}

/* How far may records of this segment be shown?  With `try_lock` also: is
 * its writer still there? */
static int find_end(struct spool_store *s, struct spool_segment *g,
                    bool try_lock, struct err *e)
{
    struct spool_segment_header h;

    if (g->closed)
        return 0;
    if (store_fd(s, g, e) < 0 || read_state(g, &h, e) != 0)
        return -1;
    if (h.committed > g->end)
        g->end = h.committed;
    if (!h.closed && !try_lock)
        return 0;
    if (fs_lock(g->fd, LOCK_EX | LOCK_NB) != 0)
        return 0; /* alive (or about to let go) */
    int rc = read_state(g, &h, e);
    if (rc == 0 && h.closed && h.committed <= g->disk_bytes) {
        g->end = h.committed;
        g->closed = true;
    } else if (rc == 0) {
        rc = recover(s, g, &h, e);
    }
    (void)fs_lock(g->fd, LOCK_UN);
    return rc;
}

static int consider(struct spool_store *s, struct spool_segment *g,
                    const struct spool_record *r, uint64_t at,
                    spool_found_fn *found, void *ctx, struct err *e)
{
    struct moved *m = store_find_moved(s, r->id);
    bool live;

    if (m != NULL && (m->placed || m->generation > r->generation))
        return 0;
    if (scan_is_live(&s->scan, r, at, &live, e) != 0)
        return -1;
    if (!live)
        return 0;
    struct spool_item *it = found(ctx, r);
    if (it == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a message");
    store_place_item(g, it, r, at);
    s->messages++;
    return 0;
}

static int scan_segment(struct spool_store *s, struct spool_segment *g,
                        spool_found_fn *found, void *ctx, struct err *e)
{
    struct spool_record r;
    uint64_t at;
    int rc;

    if (g->scanned >= g->end)
        return 0;
    if (store_fd(s, g, e) < 0)
        return -1;
    scan_begin(&s->scan, g->fd, g->id, g->scanned, g->end);
    s->scan.verify = g->damaged;
    s->scan.sure = g->end;
    while ((rc = scan_next(&s->scan, &r, &at, e)) > 0) {
        if (consider(s, g, &r, at, found, ctx, e) != 0)
            return -1;
        g->scanned = s->scan.at;
    }
    if (rc == 0 && s->scan.at < g->end)
        g->damaged = true;
    if (rc == 0)
        g->scanned = g->end;
    return rc;
}

/* --- the directory --------------------------------------------------- */

struct listing {
    struct spool_store *s;
    struct err *e;
};

static int see_segment(void *ctx, uint64_t id)
{
    struct listing *k = ctx;
    struct spool_segment *g = store_segment(k->s, id, k->e);

    if (g == NULL)
        return -1;
    g->seen = true;
    return 0;
}

/* Segments whose empty file their writer has removed. */
static void forget_vanished(struct spool_store *s)
{
    struct list *l, *next;

    for (l = s->all.next; l != &s->all; l = next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        next = l->next;
        if (!g->seen && g->live_items == 0 && g->pins == 0)
            forget_segment(s, g);
        else
            g->seen = false;
    }
}

static int list_segments(struct spool_store *s, struct err *e)
{
    struct listing k = { s, e };

    if (scan_dir(s->dir, "seg", see_segment, &k, e) != 0)
        return -1;
    forget_vanished(s);
    return 0;
}

/* A .new that nobody has locked was left by a crash.  A writer that has just
 * made it has not locked it yet, so only old ones go. */
static int remove_stale_new(void *ctx, uint64_t id)
{
    struct spool_store *s = ctx;
    char path[PATH_MAX];
    struct stat st;

    segment_path(path, s->dir, id, "new");
    int fd = fs_open(path, O_RDWR, 0);
    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && st.st_mtime + STALE_NEW_SECONDS < time(NULL) &&
        fs_lock(fd, LOCK_EX | LOCK_NB) == 0)
        fs_unlink(path);
    fs_close(fd);
    return 0;
}

/* What did writers say?  's', or a pipe that was full: look at everything. */
static void hear_wakes(struct spool_store *s)
{
    char heard[4096];
    ssize_t n;

    while ((n = read(s->wake_fd, heard, sizeof heard)) > 0)
        if (memchr(heard, 's', (size_t)n) != NULL || n == (ssize_t)sizeof heard)
            s->rescan = true;
    if (clock_mono_ms() >= s->rescan_at)
        s->rescan = true;
}

int spool_store_scan(struct spool_store *s, spool_found_fn *found, void *ctx,
                     struct err *e)
{
    struct list *l, *next;
    int rc = 0;

    hear_wakes(s);
    bool thorough = s->rescan;
    if (thorough) {
        if (list_segments(s, e) != 0)
            return -1;
        s->rescan = false;
        s->rescan_at = clock_mono_ms() + RESCAN_MS;
    }
    for (l = s->all.next; l != &s->all; l = next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        next = l->next;
        if (g->closed && g->scanned >= g->end && !thorough)
            continue;
        /* One bad segment must not hide the others. */
        if (find_end(s, g, thorough, e) != 0 ||
            scan_segment(s, g, found, ctx, e) != 0)
            rc = e->sys == ENOENT ? rc : -1;
        else
            store_drop_if_dead(s, g);
    }
    return rc;
}

/* --- begin and end --------------------------------------------------- */

static int note_generation(void *ctx, const struct spool_view *v)
{
    struct spool_store *s = ctx;

    if (v->rec->generation == 0)
        return 0;
    return store_note_moved(s, v->rec->id, v->rec->generation, NULL) == NULL;
}

static int take_lock(struct spool_store *s, struct err *e)
{
    char path[PATH_MAX];

    if (!os_path(path, sizeof path, s->dir, "run/sender.lock"))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", s->dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_TEMP, errno, "another sender works on %s",
                       s->dir);
    return 0;
}

int spool_store_open(struct spool_store **out, const char *queue_dir,
                     struct err *e)
{
    struct spool_store *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the queue");
    s->lock_fd = s->wake_fd = -1;
    s->rescan = true;
    list_init(&s->all);
    list_init(&s->used);
    list_init(&s->dirty);
    if (!span_copy(s->dir, sizeof s->dir, span_of(queue_dir)))
        err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory %s", queue_dir);
    else if (map_init(&s->segments, SEGMENT_BUCKETS) != 0 ||
             map_init(&s->moved, MOVED_BUCKETS) != 0)
        err_set(e, ERR_TEMP, 0, "no memory for the queue");
    else if (take_lock(s, e) == 0 &&
             (s->wake_fd = wake_listen(s->dir, e)) >= 0 &&
             scan_dir(s->dir, "new", remove_stale_new, s, e) == 0 &&
             spool_look(s->dir, true, note_generation, s, e) == 0) {
        *out = s;
        return 0;
    }
    spool_store_close(&s);
    return -1;
}

static void free_moved(struct spool_store *s)
{
    for (size_t i = 0; s->moved.bucket != NULL && i <= s->moved.mask; i++)
        for (struct map_link *l = s->moved.bucket[i], *next; l != NULL;
             l = next) {
            next = l->next;
            free(MAP_ENTRY(l, struct moved, link));
        }
    map_done(&s->moved);
}

void spool_store_close(struct spool_store **sp)
{
    struct spool_store *s = *sp;

    if (s == NULL)
        return;
    (void)spool_store_sync(s, NULL);
    while (!list_empty(&s->all))
        forget_segment(s, LIST_ENTRY(s->all.next, struct spool_segment, link));
    free_moved(s);
    map_done(&s->segments);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s);
    *sp = NULL;
}

int spool_store_wake_fd(const struct spool_store *s)
{
    return s->wake_fd;
}

void spool_store_usage(const struct spool_store *s, struct spool_usage *u)
{
    memset(u, 0, sizeof *u);
    for (struct list *l = s->all.next; l != &s->all; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        u->segments++;
        u->disk_bytes += g->disk_bytes;
        u->live_bytes += g->live_bytes;
    }
    u->messages = s->messages;
}
