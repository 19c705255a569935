/* handover_start.c - what a predecessor handed over and did not confirm.
 *
 * Any record whose parent it had not marked, or not for certain, lies behind
 * the confirmed word of a segment that holds children of this queue, in either
 * queue.  It may have been delivered already, by this start's predecessors or
 * by the other consumer: so it counts if it is whole, and its parents' slots
 * are marked before anything of this queue is tried.
 *
 * First all of it is made certain, entries of both directories too: a mark
 * must not outlive its child.  An unlink of a parent must be as certain as a
 * mark. */
#include "spool/handover_private.h"

#include "base/fs.h"
#include "spool/reader.h"
#include "spool/segments_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { BUCKETS = 4096, LOCK_TRIES = 10, LOCK_PAUSE_MS = 10 };

/* A segment with something behind its confirmed word. */
struct behind {
    struct list link;
    enum spool_name name;
    uint64_t id, from, end; /* end: of the last whole record */
    bool closed;
    int locked; /* a descriptor with its lock, or -1 */
};

/* A child, and the newest copy of its parent. */
struct child {
    struct map_link by_parent;
    struct list link;
    const struct behind *in;
    uint64_t at;
    struct spool_record rec, parent;
    struct spool_segment *segment; /* of the parent; NULL: it is gone */
    uint64_t parent_at;
};

struct start {
    struct spool_queue *q;
    char dir[SPOOL_QUEUES][SPOOL_DIR];
    enum spool_name name; /* of the queue that is looked through */
    struct list behind, children;
    struct map by_parent;
    struct spool_records *records;
};

/* --- segments with something behind --------------------------------------- */

/* Without its flag, by rot, a segment may hold children of any queue. */
static int read_header(const struct start *k, struct spool_file *f,
                       struct err *e)
{
    uint64_t id = f->h.id;
    enum spool_check check;

    if (spool_header_read(f->fd, &f->h, &check) != 0)
        return err_set(e, ERR_TEMP, errno, "read the header of a segment");
    if (check == SPOOL_OTHER)
        return spool_err_other(&f->h, id, e);
    if (check != SPOOL_BROKEN && f->h.id == id)
        return 0;
    f->h = (struct spool_segment_header){
        .id = id,
        .children = SPOOL_CHILDREN_OF(k->q->name),
        .committed = SPOOL_SEGMENT_HEADER,
    };
    return 0;
}

/* While we hold the lock the other consumer does not recover the segment.  It
 * may be doing so, then the segment is closed in a moment; or the system has
 * not cleared away the lock of the dead writer, then it is as good as ours. */
static bool lock_for_a_while(int fd)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (fs_lock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return false;
}

/* 1: there is something; 0; -1 with *e.  A segment that is not closed ends
 * where no record begins; its writer is dead, whatever its lock says. */
static int look_behind(struct start *k, const struct spool_file *f,
                       struct behind *b, struct err *e)
{
    struct spool_record r;
    struct stat st;
    uint64_t at;

    if (fstat(f->fd, &st) != 0 ||
        spool_confirmed_read(f->fd, f->h.id, &b->from) != 0)
        return err_set(e, ERR_TEMP, errno, "read the header of a segment");
    if (b->from < SPOOL_SEGMENT_HEADER)
        b->from = SPOOL_SEGMENT_HEADER;
    b->closed = f->h.closed;
    b->end = f->h.closed ? f->h.committed : (uint64_t)st.st_size;
    if (b->closed || b->from >= b->end)
        return b->from < b->end;
    spool_records_start(k->records, f->fd, b->id, b->from, b->end);
    return spool_records_next(k->records, &r, &at, e);
}

static int keep_behind(struct start *k, struct spool_file *f, struct err *e)
{
    struct behind found = { .name = k->name, .id = f->h.id, .locked = -1 };
    int rc = look_behind(k, f, &found, e);

    if (rc <= 0)
        return rc;
    struct behind *b = malloc(sizeof *b);
    if (b == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to look for children");
    *b = found;
    list_push(&k->behind, &b->link);
    if (fs_fdatasync(f->fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync a segment with children");
    if (!b->closed) { /* its lock is kept */
        b->locked = f->fd;
        f->fd = -1;
    }
    return 0;
}

static int look_at_segment(struct start *k, struct spool_file *f, struct err *e)
{
    const uint32_t ours = SPOOL_CHILDREN_OF(k->q->name);

    if (read_header(k, f, e) != 0)
        return -1;
    if (f->h.children != ours)
        return 0;
    if (!f->h.closed && lock_for_a_while(f->fd) && read_header(k, f, e) != 0)
        return -1;
    return keep_behind(k, f, e);
}

static int on_segment(void *ctx, uint64_t id, enum spool_kind kind,
                      struct err *e)
{
    struct start *k = ctx;
    struct spool_file f = { .h.id = id };
    char path[SPOOL_PATH];

    if (kind != SPOOL_SEG)
        return 0;
    spool_path(path, k->dir[k->name], id, kind);
    f.fd = fs_open(path, O_RDWR | SPOOL_OPEN_SAFELY, 0);
    if (f.fd < 0)
        return errno == ENOENT ? 0
                               : err_set(e, ERR_TEMP, errno, "open %s", path);
    int rc = look_at_segment(k, &f, e);
    if (f.fd >= 0)
        fs_close(f.fd);
    return rc;
}

/* Find and sync them, and all entries. */
static int find_behind(struct start *k, const char *queue_dir, struct err *e)
{
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        k->name = (enum spool_name)i;
        if (spool_dir(k->dir[i], queue_dir, k->name, e) != 0 ||
            spool_each(k->dir[i], on_segment, k, e) != 0)
            return -1;
    }
    for (int i = 0; i < SPOOL_QUEUES && !list_empty(&k->behind); i++)
        if (spool_dir_sync(k->dir[i], e) != 0)
            return -1;
    return 0;
}

/* --- children ------------------------------------------------------------- */

static uint64_t hash_of(struct msg_id id, uint64_t part)
{
    uint64_t key[3] = { id.base, id.n, part };

    return map_hash(key, sizeof key);
}

static int keep_child(struct start *k, const struct behind *b,
                      const struct spool_record *r, uint64_t at, struct err *e)
{
    struct child *c = calloc(1, sizeof *c);

    if (c == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to look for children");
    c->in = b;
    c->at = at;
    c->rec = *r;
    list_push(&k->children, &c->link);
    map_add(&k->by_parent, &c->by_parent,
            hash_of(r->id, spool_part_parent(r->part)));
    return 0;
}

/* Where reading ends: a file may have lost its end, and what stood there is no
 * more whole than what has rotted. */
static int readable_end(int fd, uint64_t end, uint64_t *out, struct err *e)
{
    struct stat st;

    *out = 0;
    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at a segment");
    *out = end < (uint64_t)st.st_size ? end : (uint64_t)st.st_size;
    return 0;
}

/* Of a closed segment all is confirmed, what has rotted too: its parent is
 * tried again. */
static int find_children(struct start *k, struct behind *b, int fd,
                         struct err *e)
{
    struct spool_record r;
    uint64_t at, end, whole_to = b->from;
    int rc;

    if (readable_end(fd, b->end, &end, e) != 0)
        return -1;
    spool_records_start(k->records, fd, b->id, b->from, end);
    while ((rc = spool_records_next(k->records, &r, &at, e)) == 1) {
        int whole = (r.flags & SPOOL_TORN) == 0;
        if (whole && (whole = spool_records_verify(k->records, &r, at, e)) < 0)
            return -1;
        if (!whole)
            continue;
        whole_to = k->records->at;
        if (spool_record_is_child(&r) && keep_child(k, b, &r, at, e) != 0)
            return -1;
    }
    if (!b->closed)
        b->end = whole_to;
    return rc;
}

/* The segment's descriptor; -1 with *e: it cannot be gone. */
static int open_behind(const struct start *k, const struct behind *b,
                       struct err *e)
{
    char path[SPOOL_PATH];

    spool_path(path, k->dir[b->name], b->id, SPOOL_SEG);
    int fd = fs_open(path, O_RDONLY | SPOOL_OPEN_SAFELY, 0);
    return fd < 0 ? err_set(e, ERR_TEMP, errno, "open %s", path) : fd;
}

static int find_all_children(struct start *k, struct err *e)
{
    for (struct list *l = k->behind.next; l != &k->behind; l = l->next) {
        struct behind *b = LIST_ENTRY(l, struct behind, link);
        int fd = open_behind(k, b, e);
        if (fd < 0)
            return -1;
        int rc = find_children(k, b, fd, e);
        fs_close(fd);
        if (rc != 0)
            return -1;
    }
    return 0;
}

/* --- parents -------------------------------------------------------------- */

/* Note a record that is the newest copy so far of some child's parent. */
static void note_parent(struct start *k, struct spool_segment *g,
                        const struct spool_record *r, uint64_t at)
{
    struct map_link *l = map_first(&k->by_parent, hash_of(r->id, r->part));

    for (; l != NULL; l = map_next(l)) {
        struct child *c = MAP_ENTRY(l, struct child, by_parent);
        if (!msg_id_eq(c->rec.id, r->id) ||
            spool_part_parent(c->rec.part) != r->part ||
            (c->segment != NULL &&
             spool_newest_is_better(&c->parent, c->parent_at, r, at)))
            continue;
        c->segment = g;
        c->parent = *r;
        c->parent_at = at;
    }
}

/* Also behind what is committed: a copy that reclaim had not published yet
 * counts as soon as the segment is recovered. */
static int find_parents(struct start *k, struct spool_segment *g, struct err *e)
{
    int fd = spool_segments_fd(k->q, g, e);
    struct spool_record r;
    uint64_t at, end;
    int rc, whole;

    if (fd < 0 ||
        readable_end(fd, g->closed ? g->end : UINT64_MAX, &end, e) != 0)
        return -1;
    spool_records_start(k->records, fd, g->id, SPOOL_SEGMENT_HEADER, end);
    while ((rc = spool_records_next(k->records, &r, &at, e)) == 1) {
        if ((r.flags & SPOOL_TORN) != 0 ||
            map_first(&k->by_parent, hash_of(r.id, r.part)) == NULL)
            continue;
        whole = g->closed ? 1 : spool_records_verify(k->records, &r, at, e);
        if (whole < 0)
            return -1;
        if (whole)
            note_parent(k, g, &r, at);
    }
    return rc;
}

static int find_all_parents(struct start *k, struct err *e)
{
    for (struct list *l = k->q->all.next; l != &k->q->all; l = l->next)
        if (find_parents(k, LIST_ENTRY(l, struct spool_segment, link), e) != 0)
            return -1;
    return 0;
}

/* --- marks ---------------------------------------------------------------- */

struct marking {
    struct spool_queue *q;
    struct spool_message parent;
    struct err *e;
};

static int on_field(void *ctx, enum spool_field type, struct span rows)
{
    struct marking *m = ctx;
    uint32_t first, last;

    while (type == SPOOL_F_REPLACES &&
           spool_replaces_next(&rows, &first, &last))
        for (uint32_t i = first; i <= last && i < m->parent.rec.nrcpt; i++)
            if (spool_handover_mark_slot(m->q, &m->parent, i, m->e) != 0)
                return -1;
    return 0;
}

/* The child is whole, so an envelope without sense was never ours: it names no
 * slots beyond those that could be read. */
static int mark_parent(struct start *k, const struct child *c, struct err *e)
{
    struct err why;
    struct marking m = {
        .q = k->q,
        .parent = { .segment = c->segment,
                    .at = c->parent_at,
                    .rec = c->parent },
        .e = &why,
    };
    struct spool_reader v = { &c->rec, c->in->name, -1, c->at, NULL };

    if (c->segment == NULL)
        return 0;
    if ((v.fd = open_behind(k, c->in, e)) < 0)
        return -1;
    int rc = spool_reader_envelope(&v, on_field, &m, &why);
    fs_close(v.fd);
    if (rc == 0 || why.kind == ERR_PERM)
        return 0;
    if (e != NULL)
        *e = why;
    return -1;
}

static int mark_parents(struct start *k, struct err *e)
{
    for (struct list *l = k->children.next; l != &k->children; l = l->next)
        if (mark_parent(k, LIST_ENTRY(l, struct child, link), e) != 0)
            return -1;
    return spool_queue_sync(k->q, e);
}

static int write_words(const struct start *k, struct err *e)
{
    for (struct list *l = k->behind.next; l != &k->behind; l = l->next) {
        const struct behind *b = LIST_ENTRY(l, struct behind, link);
        if (spool_handover_write_word(k->dir[b->name], b->id, b->end, e) != 0)
            return -1;
    }
    return 0;
}

/* --- all of it ------------------------------------------------------------ */

static void clear(struct start *k)
{
    struct list *l;

    while ((l = list_pop(&k->children)) != NULL)
        free(LIST_ENTRY(l, struct child, link));
    while ((l = list_pop(&k->behind)) != NULL) {
        struct behind *b = LIST_ENTRY(l, struct behind, link);
        if (b->locked >= 0)
            fs_close(b->locked);
        free(b);
    }
    map_done(&k->by_parent);
    free(k->records);
    free(k);
}

int spool_handover_start(struct spool_queue *q, const char *queue_dir,
                         struct err *e)
{
    struct start *k = calloc(1, sizeof *k);
    int rc = -1;

    if (k == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to look for children");
    k->q = q;
    list_init(&k->behind);
    list_init(&k->children);
    k->records = malloc(sizeof *k->records);
    if (k->records == NULL || map_init(&k->by_parent, BUCKETS) != 0) {
        err_set(e, ERR_TEMP, 0, "no memory to look for children");
        goto out;
    }
    if (find_behind(k, queue_dir, e) != 0 || find_all_children(k, e) != 0)
        goto out;
    if (!list_empty(&k->children) &&
        (find_all_parents(k, e) != 0 || mark_parents(k, e) != 0))
        goto out;
    rc = write_words(k, e);
out:
    clear(k);
    return rc;
}
