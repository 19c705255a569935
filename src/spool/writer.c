#include "spool/writer_private.h"

#include "base/fs.h"
#include "spool/large_private.h"
#include "spool/late_private.h"
#include "spool/move_record_private.h"
#include "spool/space.h"
#include "spool/wake_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    AHEAD_LEAST = 1024 * 1024, /* so many zeros at a time */
    AHEAD_MOST = 4 * AHEAD_LEAST,
    TURN_LARGE = 256 * 1024 /* turns of this size need none */
};

/* A record that waits for the commit. */
struct add {
    struct list link;
    struct spool_record rec;
    const struct chain *envelope, *body; /* body NULL: in the copy */
    char *copy;
    struct spool_late_parts late;
    unsigned char header[SPOOL_RECORD_HEADER];
};

/* --- segments of the writer ----------------------------------------------- */

/* Make a segment durable with its directory entry before the first record is
 * written. */
static int start_segment(struct spool_writer *w, uint64_t size, struct err *e)
{
    const struct spool_birth b = { w->dir, w->name, w->children, size };

    if (spool_file_claim(&w->f, &b, e) != 0)
        return -1;
    if (fs_fsync(w->f.fd) != 0) {
        err_set(e, ERR_TEMP, errno, "sync a new segment");
        spool_file_remove(&w->f, SPOOL_NEW);
        return -1;
    }
    if (spool_file_rename(&w->f, e) != 0) {
        spool_file_remove(&w->f, SPOOL_NEW);
        return -1;
    }
    if (spool_dir_sync(w->dir, e) != 0) {
        spool_file_remove(&w->f, SPOOL_SEG);
        return -1;
    }
    w->at = w->filled = w->confirmed = w->f.h.committed;
    w->announced = false;
    if (w->n > MSG_ID_N_MAX) { /* a name that only we claimed */
        w->base = w->f.h.id;
        w->n = 0;
    }
    return 0;
}

void spool_writer_note_behind(struct spool_writer *w, uint64_t id, uint64_t end)
{
    struct spool_behind *b = w->children == 0 ? NULL : calloc(1, sizeof *b);

    if (b == NULL)
        return;
    b->id = id;
    b->end = end;
    list_push(&w->behind, &b->link);
}

static void leave_segment(struct spool_writer *w)
{
    if (w->f.h.committed == SPOOL_SEGMENT_HEADER) {
        spool_file_remove(&w->f, SPOOL_SEG);
        return;
    }
    if (w->f.fd >= 0 && w->confirmed < w->f.h.committed)
        spool_writer_note_behind(w, w->f.h.id, w->f.h.committed);
    spool_file_close(&w->f);
}

/* Bytes beyond `committed` must not come back after a crash, when recovery
 * would take them for a turn that was nearly done.  After a failed sync it is
 * unknown which of them are on the disk, so this file is not written to again.
 * Best effort: a record that comes back all the same is only a duplicate; but
 * then a hand-over must not be tried again. */
static void abandon_segment(struct spool_writer *w)
{
    bool empty = w->f.h.committed == SPOOL_SEGMENT_HEADER;

    if (w->f.fd < 0 || w->at == w->f.h.committed)
        return;
    int cut = fs_truncate(w->f.fd, (off_t)w->f.h.committed);
    w->f.h.closed = true;
    spool_file_publish(&w->f);
    w->unsure |= fs_fsync(w->f.fd) != 0 || cut != 0;
    if (!empty && w->confirmed < w->f.h.committed)
        spool_writer_note_behind(w, w->f.h.id, w->f.h.committed);
    if (empty)
        spool_file_remove(&w->f, SPOOL_SEG);
    else
        spool_file_drop(&w->f);
}

static uint64_t next_size(struct spool_writer *w)
{
    return spool_space_segment(spool_space_free(w), w->segment_size);
}

int spool_writer_reserve(struct spool_writer *w, uint64_t n, struct err *e)
{
    uint64_t need = w->bytes + n;

    if (w->f.fd >= 0 && need <= w->f.size && w->at <= w->f.size - need)
        return 0;
    if (!list_empty(&w->moves))
        return err_set(e, ERR_BUG, 0, "a turn of moves outgrew its room");
    leave_segment(w);
    uint64_t size = next_size(w);
    if (size < SPOOL_SEGMENT_HEADER + need)
        size = SPOOL_SEGMENT_HEADER + need;
    return start_segment(w, size, e);
}

/* --- life of the writer --------------------------------------------------- */

int spool_writer_open_as(struct spool_writer **wp, const char *queue_dir,
                         const struct spool_writer_kind *kind, struct err *e)
{
    struct spool_writer *w = calloc(1, sizeof *w);

    *wp = NULL;
    if (w == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a spool writer");
    w->f.fd = w->wake_fd = -1;
    w->name = kind->name;
    w->children = kind->children;
    w->segment_size = kind->segment_size;
    w->n = MSG_ID_N_MAX + 1; /* of no base yet */
    list_init(&w->turn);
    list_init(&w->larges);
    list_init(&w->moves);
    list_init(&w->behind);
    w->adds = pool_new(sizeof(struct add), SPOOL_TURN_MAX);
    if (w->adds == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory for a spool writer");
        goto out;
    }
    if (spool_dir(w->dir, queue_dir, kind->name, e) != 0 ||
        (w->wake_fd = spool_wake_open(w->dir, e)) < 0)
        goto out;
    *wp = w;
    return 0;
out:
    spool_writer_close(&w);
    return -1;
}

int spool_writer_open_sized(struct spool_writer **w, const char *queue_dir,
                            enum spool_name name, uint64_t segment_size,
                            struct err *e)
{
    const struct spool_writer_kind kind = { name, 0, segment_size };

    return spool_writer_open_as(w, queue_dir, &kind, e);
}

int spool_writer_open_parents(struct spool_writer **w, const char *queue_dir,
                              enum spool_name name, enum spool_name parents,
                              struct err *e)
{
    const struct spool_writer_kind kind = { name, SPOOL_CHILDREN_OF(parents),
                                            SPOOL_SEGMENT_SIZE };

    return spool_writer_open_as(w, queue_dir, &kind, e);
}

int spool_writer_open(struct spool_writer **w, const char *queue_dir,
                      enum spool_name name, struct err *e)
{
    return spool_writer_open_sized(w, queue_dir, name, SPOOL_SEGMENT_SIZE, e);
}

void spool_writer_close(struct spool_writer **wp)
{
    struct spool_writer *w = *wp;
    struct list *l;

    if (w == NULL)
        return;
    spool_writer_rollback(w);
    leave_segment(w);
    while ((l = list_pop(&w->behind)) != NULL)
        free(LIST_ENTRY(l, struct spool_behind, link));
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    pool_free(&w->adds);
    free(w);
    *wp = NULL;
}

int spool_writer_new_id(struct spool_writer *w, struct msg_id *id,
                        struct err *e)
{
    if (w->n > MSG_ID_N_MAX) {
        leave_segment(w);
        if (start_segment(w, next_size(w), e) != 0)
            return -1;
    }
    id->base = w->base;
    id->n = w->n++;
    return 0;
}

/* --- the turn ------------------------------------------------------------- */

static bool sizes_fit(const struct spool_submission *m)
{
    return m->nrcpt >= 1 && m->nrcpt <= SPOOL_RCPT_MAX && m->envelope->n > 0 &&
           m->envelope->n <= UINT32_MAX;
}

static int fill_add(struct add *a, const struct spool_submission *m,
                    const struct body *body, struct err *e)
{
    uint64_t text = body->size - body->front;

    a->rec =
        (struct spool_record){ .id = m->id,
                               .part = m->part,
                               .arrival = m->arrival,
                               .nrcpt = m->nrcpt & SPOOL_NRCPT_MASK,
                               .flags = m->flags & SPOOL_FLAGS_MASK,
                               .envelope_size = (uint32_t)m->envelope->n,
                               .envelope_crc = spool_chain_crc(0, m->envelope),
                               .body_size = text,
                               .body_crc = body->crc };
    a->envelope = m->envelope;
    a->body = body->chain;
    a->late.late = m->late;
    if (a->copy != NULL)
        a->late.kept = (struct span){ a->copy + text, body->front };
    if (spool_late_measure(&a->rec, &a->late, e) != 0)
        return -1;
    a->rec.length = spool_record_length(&a->rec);
    return 0;
}

int spool_writer_add(struct spool_writer *w, const struct spool_submission *m,
                     const struct body *body, char *copy, struct err *e)
{
    struct add *a = NULL;

    if (!sizes_fit(m))
        err_set(e, ERR_BUG, 0, "a message with %u recipients",
                (unsigned)m->nrcpt);
    else if ((a = pool_get(w->adds)) == NULL)
        err_set(e, ERR_TEMP, 0, "too many messages in one turn");
    if (a == NULL) {
        free(copy);
        return -1;
    }
    *a = (struct add){ .copy = copy };
    if (fill_add(a, m, body, e) != 0) {
        free(copy);
        pool_put(w->adds, a);
        return -1;
    }
    list_push(&w->turn, &a->link);
    w->bytes += a->rec.length;
    return 0;
}

static void forget_adds(struct spool_writer *w)
{
    struct list *l;

    while ((l = list_pop(&w->turn)) != NULL) {
        struct add *a = LIST_ENTRY(l, struct add, link);
        free(a->copy);
        pool_put(w->adds, a);
    }
    w->bytes = 0;
    w->nchildren = 0;
}

void spool_writer_rollback(struct spool_writer *w)
{
    spool_larges_undo(w);
    spool_moves_forget(w);
    abandon_segment(w);
    forget_adds(w);
}

/* --- commit --------------------------------------------------------------- */

static int put_body(struct spool_gather *k, const struct add *a)
{
    return a->body != NULL
               ? spool_gather_chain(k, a->body)
               : spool_gather_add(k, a->copy, (size_t)a->rec.body_size);
}

static int put_record(struct spool_gather *k, struct add *a, uint64_t segment)
{
    const struct spool_record *r = &a->rec;
    uint64_t content = spool_late_at(r) + r->late_size;

    a->rec.segment = segment;
    spool_record_encode(a->header, r);
    if (spool_gather_add(k, a->header, sizeof a->header) != 0 ||
        spool_gather_zeros(k, (uint64_t)r->nrcpt * SPOOL_SLOT) != 0 ||
        spool_gather_chain(k, a->envelope) != 0 || put_body(k, a) != 0 ||
        spool_late_gather(k, &a->late) != 0 ||
        spool_gather_zeros(k, r->length - content) != 0)
        return -1;
    return 0;
}

/* Write zeros ahead for later turns when a turn reaches reserved blocks that
 * were never written: their first sync commits the journal of the file system,
 * which doubles the time of the sync.  The more the segment has, the more goes
 * ahead, so that under load few turns pay.  Not in a turn of large messages,
 * which writes enough already. */
static int fill_ahead(struct spool_writer *w, struct spool_gather *k)
{
    uint64_t left = w->f.size - w->at, n = w->at;

    if (w->at <= w->filled || w->bytes > TURN_LARGE)
        return 0;
    n = n < AHEAD_LEAST ? AHEAD_LEAST : n;
    n = n > AHEAD_MOST ? AHEAD_MOST : n;
    n = n > left ? left : n;
    if (spool_gather_zeros(k, n) != 0)
        return -1;
    w->filled = w->at + n;
    return 0;
}

static int write_records(struct spool_writer *w, struct err *e)
{
    struct spool_gather k = { w->f.fd, w->at, 0, 0, w->v };

    if (w->bytes == 0)
        return 0;
    w->at += w->bytes; /* from here on a failure must be undone */
    for (struct list *l = w->turn.next; l != &w->turn; l = l->next)
        if (put_record(&k, LIST_ENTRY(l, struct add, link), w->f.h.id) != 0)
            return err_set(e, ERR_TEMP, errno, "write to a segment");
    if (fill_ahead(w, &k) != 0 || spool_gather_flush(&k) != 0)
        return err_set(e, ERR_TEMP, errno, "write to a segment");
    return 0;
}

static int sync_records(struct spool_writer *w, struct err *e)
{
    if (w->f.fd < 0 || w->at <= w->f.h.committed || fs_fdatasync(w->f.fd) == 0)
        return 0;
    w->f.h.unsynced = true;
    return err_set(e, ERR_TEMP, errno, "sync a segment");
}

/* Make the records visible to the sender; from here on there is no rollback. */
static int publish_records(struct spool_writer *w, struct err *e)
{
    struct spool_segment_header old = w->f.h;

    if (w->f.fd < 0 || w->at == w->f.h.committed)
        return 0;
    w->f.h.committed = w->at;
    w->f.h.moved |= !list_empty(&w->moves);
    if (spool_file_publish(&w->f) == 0)
        return 0;
    w->f.h = old;
    return err_set(e, ERR_TEMP, errno, "publish a segment");
}

/* Each step leads to the next state in docs/spool.md; durable records become
 * visible only at the end. */
static int store_turn(struct spool_writer *w, struct err *e)
{
    if (w->bytes > 0 && spool_writer_reserve(w, 0, e) != 0)
        return -1;
    if (write_records(w, e) != 0 || spool_moves_finish(w, e) != 0 ||
        spool_larges_sync(w, e) != 0 || sync_records(w, e) != 0 ||
        spool_larges_rename(w, e) != 0 || publish_records(w, e) != 0)
        return -1;
    return 0;
}

int spool_writer_commit(struct spool_writer *w, struct err *e)
{
    bool large = !list_empty(&w->larges);

    if (list_empty(&w->turn) && !large && list_empty(&w->moves))
        return 0;
    if (store_turn(w, e) != 0) {
        spool_writer_rollback(w);
        return -1;
    }
    bool known = w->announced || w->f.fd < 0;
    spool_larges_publish(w);
    spool_moves_forget(w);
    forget_adds(w);
    spool_wake_send(w->wake_fd, large || !known);
    w->announced = true;
    return 0;
}
