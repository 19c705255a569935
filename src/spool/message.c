/* message.c - one message of the queue: envelope, body, slots, removal. */
#include "spool/message.h"

#include "base/fs.h"
#include "spool/segments_private.h"

#include <errno.h>

void spool_message_place(struct spool_queue *q, struct spool_segment *g,
                         struct spool_message *m, uint64_t at)
{
    m->segment = g;
    m->at = at;
    list_push(&g->messages, &m->link);
    g->live++;
    g->live_bytes += m->rec.length;
    q->live_bytes += m->rec.length;
}

void spool_message_remove(struct spool_queue *q, struct spool_message *m)
{
    spool_cursors_leave_message(q, m);
    list_remove(&m->link);
    m->segment->live--;
    m->segment->live_bytes -= m->rec.length;
    q->live_bytes -= m->rec.length;
    m->segment = NULL;
}

int spool_message_reader(struct spool_queue *q, const struct spool_message *m,
                         struct spool_reader *v, struct err *e)
{
    *v = (struct spool_reader){ .rec = &m->rec,
                                .queue = q->name,
                                .fd = spool_segments_fd(q, m->segment, e),
                                .at = m->at };
    return v->fd < 0 ? -1 : 0;
}

static int read_envelope(struct spool_queue *q, const struct spool_message *m,
                         spool_field_fn *fn, void *ctx, struct err *e)
{
    struct spool_reader v;

    if (spool_message_reader(q, m, &v, e) != 0)
        return -1;
    spool_records_ahead(&q->ahead, &v, m->segment->id, m->segment->end);
    v.records = &q->ahead;
    return spool_reader_envelope(&v, fn, ctx, e);
}

/* It was just read and verified. */
static void keep_envelope(struct spool_queue *q, const struct spool_message *m)
{
    const uint64_t at = m->at + spool_envelope_at(&m->rec);
    const size_t n = m->rec.envelope_size;
    const void *p = spool_records_peek(&q->ahead, at, n);

    if (p != NULL)
        spool_recent_keep(&q->recent, m->segment->id, m->at,
                          (struct span){ p, n });
}

int spool_message_envelope(struct spool_queue *q, const struct spool_message *m,
                           spool_field_fn *fn, void *ctx, struct err *e)
{
    struct span seen;

    if (!spool_recent_fits(&m->rec))
        return read_envelope(q, m, fn, ctx, e);
    seen = spool_recent_find(&q->recent, m->segment->id, m->at);
    if (seen.n > 0)
        return spool_reader_fields(seen, fn, ctx, e);
    int rc = read_envelope(q, m, fn, ctx, e);
    if (rc >= 0)
        keep_envelope(q, m);
    return rc;
}

int spool_message_pin(struct spool_queue *q, struct spool_message *m,
                      struct body *body, struct err *e)
{
    struct spool_reader v;

    if (spool_message_reader(q, m, &v, e) != 0)
        return -1;
    if (spool_reader_body(&v, body, e) != 0)
        return -1;
    m->segment->pins++;
    return 0;
}

int spool_message_pin_read_only(struct spool_queue *q, struct spool_message *m,
                                struct body *body, struct err *e)
{
    if (spool_message_pin(q, m, body, e) != 0)
        return -1;
    body->fd = spool_segments_read_fd(q, m->segment, e);
    if (body->fd >= 0)
        return 0;
    spool_message_unpin(q, m->segment);
    return -1;
}

void spool_message_unpin(struct spool_queue *q, struct spool_segment *pinned)
{
    if (--pinned->pins == 0)
        spool_segments_settle(q, pinned);
}

int spool_slot_get(struct spool_queue *q, const struct spool_message *m,
                   uint32_t index, struct spool_slot *slot, struct err *e)
{
    struct spool_reader v;

    return spool_message_reader(q, m, &v, e) != 0
               ? -1
               : spool_reader_slot(&v, index, slot, e);
}

int spool_slot_put(struct spool_queue *q, struct spool_message *m,
                   uint32_t index, const struct spool_slot *slot, struct err *e)
{
    unsigned char out[SPOOL_SLOT];
    struct spool_segment *g = m->segment;

    if (index >= m->rec.nrcpt)
        return err_set(e, ERR_BUG, 0, "recipient %u of %u", (unsigned)index,
                       (unsigned)m->rec.nrcpt);
    if (spool_segments_fd(q, g, e) < 0)
        return -1;
    spool_slot_encode(out, index, slot);
    if (fs_pwrite_all(g->fd, out, sizeof out,
                      (off_t)(m->at + spool_slot_at(index))) != 0)
        return err_set(e, ERR_TEMP, errno, "write the slot of a recipient");
    if (!list_linked(&g->dirty))
        list_push(&q->dirty, &g->dirty);
    return 0;
}

/* A sync by the segment's writer that failed may have lost slots that were
 * written before it, and a later sync does not say so. */
static int look_for_lost_slots(struct spool_queue *q, struct spool_segment *g,
                               struct err *e)
{
    if (!g->closed && spool_segments_refresh(q, g, false, e) != 0)
        return -1;
    if (!g->lost)
        return 0;
    g->lost = false;
    q->unsynced = true;
    return err_set(e, ERR_TEMP, EIO,
                   "a writer's sync lost slots of recipients");
}

static int sync_marks(struct spool_queue *q, struct spool_segment *g,
                      struct err *e)
{
    if (spool_segments_fd(q, g, e) < 0)
        return -1;
    if (fs_fdatasync(g->fd) == 0)
        return look_for_lost_slots(q, g, e);
    q->unsynced = true;
    return err_set(e, ERR_TEMP, errno, "sync the slots of recipients");
}

/* Go on after a segment that fails, because a lost slot is a duplicate at
 * worst. */
int spool_queue_sync(struct spool_queue *q, struct err *e)
{
    struct list failed, *l;
    int rc = 0;

    list_init(&failed);
    while ((l = list_pop(&q->dirty)) != NULL) {
        if (sync_marks(q, LIST_ENTRY(l, struct spool_segment, dirty), e) == 0)
            continue;
        list_push(&failed, l);
        rc = -1;
    }
    list_splice(&q->dirty, &failed);
    return spool_segments_sync_dir(q, e) != 0 ? -1 : rc;
}

void spool_message_done(struct spool_queue *q, struct spool_message *m)
{
    struct spool_segment *g = m->segment;

    spool_message_remove(q, m);
    q->messages--;
    spool_segments_settle(q, g);
}
