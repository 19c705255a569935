/* large.c - a segment for one large message. */
#include "spool/large_private.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct spool_large {
    struct list link; /* in the turn, once it is finished */
    char dir[SPOOL_DIR];
    struct spool_file f;
    struct spool_record rec;
    enum spool_kind name;
};

static uint64_t body_start(const struct spool_large *s)
{
    return SPOOL_SEGMENT_HEADER + spool_body_at(&s->rec);
}

/* Write the slots instead of leaving a hole, so that their later changes need
 * no room on a full disk. */
static int write_front(struct spool_large *s, const struct chain *envelope,
                       struct iovec *v)
{
    struct spool_gather k = { s->f.fd, SPOOL_SEGMENT_HEADER, 0, 0, v };

    return spool_gather_zeros(&k, spool_slot_at(s->rec.nrcpt)) != 0 ||
                   spool_gather_chain(&k, envelope) != 0 ||
                   spool_gather_flush(&k) != 0
               ? -1
               : 0;
}

int spool_large_open(struct spool_large **sp, struct spool_writer *w,
                     const struct spool_submission *m, struct err *e)
{
    struct spool_large *s = calloc(1, sizeof *s);

    *sp = NULL;
    if (s == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a large message");
    s->f.fd = -1;
    memcpy(s->dir, w->dir, sizeof s->dir);
    s->name = SPOOL_NEW;
    s->rec.id = m->id;
    s->rec.part = m->part;
    s->rec.arrival = m->arrival;
    s->rec.nrcpt =
        (m->nrcpt <= SPOOL_RCPT_MAX ? m->nrcpt : 0) & SPOOL_NRCPT_MASK;
    s->rec.flags = (m->flags | SPOOL_LARGE) & SPOOL_FLAGS_MASK;
    s->rec.envelope_size = (uint32_t)m->envelope->n;
    s->rec.envelope_crc = spool_chain_crc(0, m->envelope);
    const struct spool_birth b = { s->dir, w->name,
                                   m->part == 0 ? 0 : w->children, 0 };
    if (spool_file_claim(&s->f, &b, e) != 0)
        goto out;
    s->rec.segment = s->f.h.id;
    if (write_front(s, m->envelope, w->v) != 0) {
        err_set(e, ERR_TEMP, errno, "write a large message");
        goto out;
    }
    *sp = s;
    return 0;
out:
    spool_large_abort(&s);
    return -1;
}

int spool_large_append(struct spool_large *s, const void *data, size_t n,
                       struct err *e)
{
    off_t at = (off_t)(body_start(s) + s->rec.body_size);

    if (fs_pwrite_all(s->f.fd, data, n, at) != 0)
        return err_set(e, ERR_TEMP, errno, "write a large message");
    s->rec.body_crc = crc32c(s->rec.body_crc, data, n);
    s->rec.body_size += n;
    return 0;
}

void spool_large_add_flags(struct spool_large *s, uint32_t flags)
{
    s->rec.flags |= flags & SPOOL_FLAGS_MASK;
}

/* Write late fields and padding, then the header of the record; without it the
 * file holds no message. */
static int write_end(struct spool_large *s, const struct spool_late_parts *late,
                     struct iovec *v)
{
    unsigned char header[SPOOL_RECORD_HEADER];
    struct spool_record *r = &s->rec;
    uint64_t end = SPOOL_SEGMENT_HEADER + spool_late_at(r);
    struct spool_gather k = { s->f.fd, end, 0, 0, v };

    r->length = spool_record_length(r);
    s->f.h.committed = SPOOL_SEGMENT_HEADER + r->length;
    if (spool_late_gather(&k, late) != 0 ||
        spool_gather_zeros(&k, s->f.h.committed - end - r->late_size) != 0 ||
        spool_gather_flush(&k) != 0)
        return -1;
    spool_record_encode(header, r);
    return fs_pwrite_all(s->f.fd, header, sizeof header, SPOOL_SEGMENT_HEADER);
}

int spool_large_end(struct spool_writer *w, struct spool_large **sp,
                    const struct spool_late_parts *late, struct err *e)
{
    struct spool_large *s = *sp;

    if (s->rec.nrcpt < 1 || s->rec.nrcpt > SPOOL_RCPT_MAX)
        err_set(e, ERR_BUG, 0, "a message with %u recipients",
                (unsigned)s->rec.nrcpt);
    else if (spool_late_measure(&s->rec, late, e) == 0) {
        if (write_end(s, late, w->v) == 0) {
            list_push(&w->larges, &s->link);
            *sp = NULL;
            return 0;
        }
        err_set(e, ERR_TEMP, errno, "write a large message");
    }
    spool_large_abort(sp);
    return -1;
}

int spool_large_finish(struct spool_writer *w, struct spool_large **sp,
                       const struct spool_late *late, struct err *e)
{
    const struct spool_late_parts parts = { .late = late };

    return spool_large_end(w, sp, &parts, e);
}

void spool_large_abort(struct spool_large **sp)
{
    if (*sp == NULL)
        return;
    spool_file_remove(&(*sp)->f, (*sp)->name);
    free(*sp);
    *sp = NULL;
}

/* --- commit --------------------------------------------------------------- */

int spool_larges_sync(struct spool_writer *w, struct err *e)
{
    for (struct list *l = w->larges.next; l != &w->larges; l = l->next)
        if (fs_fdatasync(LIST_ENTRY(l, struct spool_large, link)->f.fd) != 0)
            return err_set(e, ERR_TEMP, errno, "sync a large message");
    return 0;
}

/* Rename the segments; they are locked and their state has nothing committed,
 * so that the sender ignores them until the whole turn is durable. */
int spool_larges_rename(struct spool_writer *w, struct err *e)
{
    if (list_empty(&w->larges))
        return 0;
    for (struct list *l = w->larges.next; l != &w->larges; l = l->next) {
        struct spool_large *s = LIST_ENTRY(l, struct spool_large, link);
        if (spool_file_rename(&s->f, e) != 0)
            return -1;
        s->name = SPOOL_SEG;
    }
    return spool_dir_sync(w->dir, e);
}

/* Publish the states.  A write that fails is harmless: recovery of an unlocked
 * segment comes to the same result by its checksums. */
void spool_larges_publish(struct spool_writer *w)
{
    struct list *l;

    while ((l = list_pop(&w->larges)) != NULL) {
        struct spool_large *s = LIST_ENTRY(l, struct spool_large, link);
        if (s->f.h.children != 0)
            spool_writer_note_behind(w, s->f.h.id, s->f.h.committed);
        s->f.h.closed = true;
        spool_file_publish(&s->f);
        spool_file_drop(&s->f);
        free(s);
    }
}

void spool_larges_undo(struct spool_writer *w)
{
    bool renamed = false;
    struct list *l;

    while ((l = list_pop(&w->larges)) != NULL) {
        struct spool_large *s = LIST_ENTRY(l, struct spool_large, link);
        renamed |= s->name == SPOOL_SEG;
        if (spool_file_remove(&s->f, s->name) != 0 && s->name == SPOOL_SEG)
            w->unsure = true;
        spool_large_abort(&s);
    }
    if (renamed) /* best effort: a power cut may undo the unlink */
        w->unsure |= fs_sync_dir(w->dir) != 0;
}
