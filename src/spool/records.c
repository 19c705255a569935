#include "spool/records_private.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/reader.h"

#include <errno.h>

enum { NEAR = 16 * 1024, PIECE = 4096 };

void spool_records_start(struct spool_records *w, int fd, uint64_t segment,
                         uint64_t at, uint64_t end)
{
    w->fd = fd;
    w->segment = segment;
    w->at = at;
    w->end = end;
    w->broken = false;
    w->from = 0;
    w->n = w->last = 0;
}

/* Fill the buffer from `at`.  One large read serves many small messages; behind
 * a large body only the next header and slots are read. */
static int fill(struct spool_records *w, uint64_t at, size_t least,
                struct err *e)
{
    size_t want = w->last <= NEAR ? sizeof w->buf : PIECE, n = 0;

    want = want < least ? least : want;
    if (want > w->end - at)
        want = (size_t)(w->end - at);
    w->from = at;
    w->n = 0;
    while (n < least) {
        ssize_t got = fs_pread(w->fd, w->buf + n, want - n, (off_t)(at + n));
        if (got < 0)
            return err_set(e, ERR_TEMP, errno, "read a segment");
        if (got == 0)
            return err_set(e, ERR_TEMP, EIO, "a segment is cut short");
        n += (size_t)got;
    }
    w->n = n;
    return 0;
}

/* n bytes (at most SPOOL_WINDOW) at that offset, inside w; NULL with *e. */
static const unsigned char *bytes_at(struct spool_records *w, uint64_t at,
                                     size_t n, struct err *e)
{
    if (at > w->end || n > w->end - at) {
        err_set(e, ERR_TEMP, EIO, "a segment is cut short");
        return NULL;
    }
    if (spool_records_peek(w, at, n) == NULL && fill(w, at, n, e) != 0)
        return NULL;
    return w->buf + (at - w->from);
}

const unsigned char *spool_records_peek(const struct spool_records *w,
                                        uint64_t at, uint64_t n)
{
    if (at < w->from || at - w->from > w->n || n > w->n - (at - w->from))
        return NULL;
    return w->buf + (at - w->from);
}

void spool_records_ahead(struct spool_records *w, const struct spool_reader *v,
                         uint64_t segment, uint64_t end)
{
    uint64_t at = v->at + spool_envelope_at(v->rec), n = v->rec->envelope_size;
    bool same = w->segment == segment;

    if (same && spool_records_peek(w, at, n) != NULL)
        return;
    bool onward = same && at >= w->from && at - w->from <= 2 * SPOOL_WINDOW;
    spool_records_start(w, v->fd, segment, at, end);
    w->last = onward && v->rec->length <= NEAR ? 0 : SIZE_MAX;
    if (n <= SPOOL_WINDOW)
        (void)bytes_at(w, at, (size_t)n, NULL);
}

int spool_records_next(struct spool_records *w, struct spool_record *r,
                       uint64_t *at, struct err *e)
{
    if (w->broken || w->at >= w->end)
        return 0;
    const unsigned char *p = NULL;
    if (w->end - w->at >= SPOOL_RECORD_HEADER &&
        (p = bytes_at(w, w->at, SPOOL_RECORD_HEADER, e)) == NULL)
        return -1;
    if (p == NULL || !spool_record_decode(r, p) || r->segment != w->segment ||
        r->length > w->end - w->at) {
        w->broken = true;
        return 0;
    }
    *at = w->at;
    w->at += r->length;
    w->last = r->body_size < SIZE_MAX ? (size_t)r->body_size : SIZE_MAX;
    return 1;
}

/* The slots and the envelope, which are read next, if they fit. */
static int keep_head(struct spool_records *w, const struct spool_record *r,
                     uint64_t at, struct err *e)
{
    uint64_t n = spool_envelope_at(r) + r->envelope_size;

    return n > SPOOL_WINDOW || n > w->end - at ||
                   bytes_at(w, at, (size_t)n, e) != NULL
               ? 0
               : -1;
}

int spool_records_waits(struct spool_records *w, const struct spool_record *r,
                        uint64_t at, struct err *e)
{
    struct spool_slot slot;

    if (keep_head(w, r, at, e) != 0)
        return -1;
    for (uint32_t i = 0; i < r->nrcpt; i++) {
        const unsigned char *p =
            bytes_at(w, at + spool_slot_at(i), SPOOL_SLOT, e);
        if (p == NULL)
            return -1;
        spool_slot_decode(&slot, i, p);
        if (slot.state == SPOOL_PENDING || slot.state == SPOOL_HELD)
            return 1;
    }
    return 0;
}

/* 1: the next n octets have that checksum; 0, -1. */
static int part_is_whole(struct spool_records *w, uint64_t from, uint64_t n,
                         uint32_t want, struct err *e)
{
    uint32_t crc = 0;

    while (n > 0) {
        size_t part = n < PIECE ? (size_t)n : PIECE;
        const unsigned char *p = bytes_at(w, from, part, e);
        if (p == NULL)
            return -1;
        crc = crc32c(crc, p, part);
        from += part;
        n -= part;
    }
    return crc == want;
}

int spool_records_verify(struct spool_records *w, const struct spool_record *r,
                         uint64_t at, struct err *e)
{
    int rc;

    w->last = 0; /* the whole record is needed */
    rc = part_is_whole(w, at + spool_envelope_at(r), r->envelope_size,
                       r->envelope_crc, e);
    if (rc == 1)
        rc = part_is_whole(w, at + spool_body_at(r), r->body_size, r->body_crc,
                           e);
    if (rc == 1)
        rc = part_is_whole(w, at + spool_late_at(r), r->late_size, r->late_crc,
                           e);
    return rc;
}
