/* move_record.c - move a record into the writer's segment.
 *
 * The record's checksum does not cover the slots, because they change.  A copy
 * whose slots were lost in a power cut would have delivered recipients pending
 * again, and would win over the original.  So the header of a copy, which makes
 * it a record, is written only after a sync of the rest. */
#include "spool/move_record_private.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <stdlib.h>

struct move {
    struct list link;
    uint64_t at;
    struct spool_record rec;
};

struct copying {
    int in, out;
    uint64_t from, to; /* of the record */
    uint64_t at;       /* in it */
};

/* Copy the next n octets of the record and compute their checksum. */
static int copy_part(struct copying *k, uint64_t n, uint32_t *crc)
{
    char piece[32 * 1024];

    *crc = 0;
    for (uint64_t end = k->at + n; k->at < end;) {
        uint64_t left = end - k->at;
        size_t want = left < sizeof piece ? (size_t)left : sizeof piece;
        if (fs_pread_all(k->in, piece, want, (off_t)(k->from + k->at)) != 0 ||
            fs_pwrite_all(k->out, piece, want, (off_t)(k->to + k->at)) != 0)
            return -1;
        *crc = crc32c(*crc, piece, want);
        k->at += want;
    }
    return 0;
}

/* Copy the record without its header. */
static int copy_record(struct copying *k, const struct spool_record *r,
                       struct err *e)
{
    uint32_t slots, envelope, body, late;

    k->at = SPOOL_RECORD_HEADER;
    if (copy_part(k, (uint64_t)r->nrcpt * SPOOL_SLOT, &slots) != 0 ||
        copy_part(k, r->envelope_size, &envelope) != 0 ||
        copy_part(k, r->body_size, &body) != 0 ||
        copy_part(k, r->late_size, &late) != 0)
        return err_set(e, ERR_TEMP, errno, "move a message");
    if (envelope != r->envelope_crc || body != r->body_crc ||
        late != r->late_crc)
        return err_set(e, ERR_PERM, 0, "message damaged on disk");
    return 0;
}

/* The writer's offset advances even after a failure, because each byte of a
 * segment is written once only. */
int spool_move_record(struct spool_writer *w, struct spool_record *r, int fd,
                      uint64_t *at, struct err *e)
{
    struct move *c = calloc(1, sizeof *c);
    struct copying k = { .in = fd, .out = w->f.fd, .from = *at, .to = w->at };

    if (c == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to move a message");
    list_push(&w->moves, &c->link);
    w->at += r->length;
    if (copy_record(&k, r, e) != 0)
        return -1;
    c->rec = *r;
    c->rec.segment = w->f.h.id;
    c->rec.generation++;
    c->at = *at = k.to;
    *r = c->rec;
    return 0;
}

int spool_moves_finish(struct spool_writer *w, struct err *e)
{
    unsigned char header[SPOOL_RECORD_HEADER];

    if (list_empty(&w->moves))
        return 0;
    if (fs_fdatasync(w->f.fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync moved messages");
    for (struct list *l = w->moves.next; l != &w->moves; l = l->next) {
        const struct move *c = LIST_ENTRY(l, struct move, link);
        spool_record_encode(header, &c->rec);
        if (fs_pwrite_all(w->f.fd, header, sizeof header, (off_t)c->at) != 0)
            return err_set(e, ERR_TEMP, errno, "move a message");
    }
    return 0;
}

void spool_moves_forget(struct spool_writer *w)
{
    struct list *l;

    while ((l = list_pop(&w->moves)) != NULL)
        free(LIST_ENTRY(l, struct move, link));
}
