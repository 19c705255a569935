/* spool/records_private.h - go through the records of an open segment in order.
 *
 * For src/spool only.  Reads headers and, where they are near, slots in
 * large pieces, and skips bodies that are longer than a piece. */
#ifndef MTA_SPOOL_RECORDS_PRIVATE_H
#define MTA_SPOOL_RECORDS_PRIVATE_H

#include "base/err.h"
#include "spool/format_private.h"

enum { SPOOL_WINDOW = 64 * 1024 };

struct spool_records {
    int fd;
    uint64_t segment; /* records of another are no records */
    uint64_t at, end; /* of the next record; nothing is read beyond end */
    bool broken;      /* stopped before end: no header there */
    uint64_t from;    /* what of the file is in buf */
    size_t n, last;   /* last: body of the record before */
    unsigned char buf[SPOOL_WINDOW];
};

void spool_records_start(struct spool_records *w, int fd, uint64_t segment,
                         uint64_t at, uint64_t end);

/* 1: *r stands at *at; 0: no more; -1 with *e: it cannot be read.  Records
 * that recovery marked as torn are shown too (SPOOL_TORN). */
int spool_records_next(struct spool_records *w, struct spool_record *r,
                       uint64_t *at, struct err *e);

/* n bytes at that offset if they are in the buffer already, else NULL. */
const unsigned char *spool_records_peek(const struct spool_records *w,
                                        uint64_t at, uint64_t n);
/* Be ready to peek at the envelope of v's record: reads on a whole window of
 * small records when the last ones were shortly before.  What fails is only not
 * read. */
struct spool_reader;
void spool_records_ahead(struct spool_records *w, const struct spool_reader *v,
                         uint64_t segment, uint64_t end);

/* Has the record just shown a recipient that is pending or held?  1, 0, -1.
 * Slots and envelope can be peeked at then, unless they are longer than the
 * window. */
int spool_records_waits(struct spool_records *w, const struct spool_record *r,
                        uint64_t at, struct err *e);

/* Is the content of the record whole?  1, 0, -1 with *e.  Uses w's buffer. */
int spool_records_verify(struct spool_records *w, const struct spool_record *r,
                         uint64_t at, struct err *e);
#endif
