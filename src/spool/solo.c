#include "spool/solo.h"

#include "base/crc32c.h"
#include "base/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t body_start(const struct spool_solo *s)
{
    return SPOOL_SEGMENT_HEADER + spool_body_at(&s->rec);
}

/* Slots are written, as zeros, so that marking them later needs no room. */
static int write_front(struct spool_solo *s, const struct spool_message *m)
{
    static const unsigned char zeros[32 * SPOOL_SLOT];
    uint64_t at = SPOOL_SEGMENT_HEADER + SPOOL_RECORD_HEADER;
    uint64_t left = (uint64_t)m->nrcpt * SPOOL_SLOT;

    while (left > 0) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        if (fs_pwrite_all(s->file.fd, zeros, n, (off_t)at) != 0)
            return -1;
        at += n;
        left -= n;
    }
    for (const struct chain_block *b = m->envelope->head; b != NULL;
         b = b->next) {
        size_t n = b->to - b->from;
        if (fs_pwrite_all(s->file.fd, b->data + b->from, n, (off_t)at) != 0)
            return -1;
        s->crc = crc32c(s->crc, b->data + b->from, n);
        at += n;
    }
    return 0;
}

int spool_solo_open(struct spool_solo **out, struct spool_writer *w,
                    const struct spool_message *m, struct err *e)
{
    struct spool_solo *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a large message");
    strncpy(s->dir, spool_writer_dir(w), sizeof s->dir - 1);
    if (segment_create(&s->file, s->dir, 0, e) != 0) {
        free(s);
        return -1;
    }
    s->rec = (struct spool_record){ .id = m->id,
                                    .segment = s->file.id,
                                    .arrival = m->arrival,
                                    .envelope_size = (uint32_t)m->envelope->n,
                                    .nrcpt = m->nrcpt,
                                    .generation = m->generation,
                                    .flags = m->flags | SPOOL_SOLO };
    if (write_front(s, m) != 0) {
        err_set(e, ERR_TEMP, errno, "write a large message");
        spool_solo_abort(&s);
        return -1;
    }
    *out = s;
    return 0;
}

int spool_solo_append(struct spool_solo *s, const void *data, size_t n,
                      struct err *e)
{
    if (fs_pwrite_all(s->file.fd, data, n,
                      (off_t)(body_start(s) + s->rec.body_size)) != 0)
        return err_set(e, ERR_TEMP, errno, "write a large message");
    s->crc = crc32c(s->crc, data, n);
    s->rec.body_size += n;
    return 0;
}

struct body spool_solo_body(const struct spool_solo *s)
{
    return body_of_file(s->file.fd, (off_t)body_start(s), s->rec.body_size);
}

/* The header of the record comes last: without it there is no record. */
int spool_solo_finish(struct spool_writer *w, struct spool_solo **sp,
                      struct err *e)
{
    struct spool_solo *s = *sp;
    unsigned char head[SPOOL_RECORD_HEADER];

    s->rec.crc = s->crc;
    s->rec.length = spool_record_length(s->rec.nrcpt, s->rec.envelope_size,
                                        s->rec.body_size);
    uint64_t end = SPOOL_SEGMENT_HEADER + s->rec.length;
    spool_record_seal(head, &s->rec);
    if (fs_truncate(s->file.fd, (off_t)end) != 0 ||
        fs_pwrite_all(s->file.fd, head, sizeof head, SPOOL_SEGMENT_HEADER) !=
            0 ||
        segment_write_state(&s->file, end, true) != 0) {
        err_set(e, ERR_TEMP, errno, "finish a large message");
        spool_solo_abort(sp);
        return -1;
    }
    spool_writer_take_solo(w, s);
    *sp = NULL;
    return 0;
}

int spool_solo_sync(struct spool_solo *s, struct err *e)
{
    if (fs_fsync(s->file.fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync a large message");
    return 0;
}

int spool_solo_publish(struct spool_solo *s, struct err *e)
{
    if (segment_publish(&s->file, s->dir, e) != 0)
        return -1;
    s->published = true;
    return 0;
}

void spool_solo_release(struct spool_solo **s)
{
    fs_close((*s)->file.fd);
    free(*s);
    *s = NULL;
}

void spool_solo_abort(struct spool_solo **s)
{
    if (*s == NULL)
        return;
    segment_discard(&(*s)->file, (*s)->dir, (*s)->published ? "seg" : "new");
    free(*s);
    *s = NULL;
}
