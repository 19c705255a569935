/* move_record.c - move a record into the writer's segment.
 *
 * Slots are outside of the record's checksum, because they change.  A copy
 * that has lost them in a power cut would bring delivered recipients back,
 * and would win over the original.  So its header, which makes it a record,
 * is written only when the rest of it is on the disk. */
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

/* All of it but the header, to out at `to`; the checksum goes over what lies
 * behind the slots. */
static int copy_bytes(int out, uint64_t to, const struct spool_record *r,
                      int in, uint64_t from, uint32_t *crc)
{
    char piece[32 * 1024];
    uint64_t at = SPOOL_RECORD_HEADER, content = spool_envelope_at(r);
    uint64_t end = spool_body_at(r) + r->body_size;

    *crc = 0;
    while (at < end) {
        uint64_t left = (at < content ? content : end) - at;
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        if (fs_pread_all(in, piece, n, (off_t)(from + at)) != 0 ||
            fs_pwrite_all(out, piece, n, (off_t)(to + at)) != 0)
            return -1;
        if (at >= content)
            *crc = crc32c(*crc, piece, n);
        at += n;
    }
    return 0;
}

/* Whatever happens, the writer has passed that place: a segment has only one
 * chance for each byte. */
int spool_move_record(struct spool_writer *w, struct spool_record *r, int fd,
                      uint64_t *at, struct err *e)
{
    struct move *c = calloc(1, sizeof *c);
    uint64_t to = w->at;
    uint32_t crc;

    if (c == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to move a message");
    list_push(&w->moves, &c->link);
    w->at += r->length;
    if (copy_bytes(w->f.fd, to, r, fd, *at, &crc) != 0)
        return err_set(e, ERR_TEMP, errno, "move a message");
    if (spool_record_crc(r, crc) != r->crc)
        return err_set(e, ERR_PERM, 0, "a message in the queue has rotted");
    c->rec = *r;
    c->rec.segment = w->f.h.id;
    c->rec.generation++;
    c->rec.crc = spool_record_crc(&c->rec, crc);
    c->at = *at = to;
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
