/* spool/writer_private.h - the inside of a writer.
 *
 * For src/spool only: writer.c, large.c and move_record.c share it; tests
 * open writers with small segments. */
#ifndef MTA_SPOOL_WRITER_PRIVATE_H
#define MTA_SPOOL_WRITER_PRIVATE_H

#include "base/list.h"
#include "base/pool.h"
#include "spool/gather_write_private.h"
#include "spool/segment_private.h"
#include "spool/writer.h"

struct spool_writer {
    char dir[SPOOL_DIR];
    enum spool_name name;
    uint32_t children;     /* of its segments' headers */
    struct spool_file f;   /* fd -1: none; the next turn opens one */
    uint64_t segment_size; /* of later segments */
    uint64_t at;           /* end of the records written; >= f.h.committed */
    uint64_t filled;       /* no block before it is written first by a turn */
    bool announced;        /* the sender was woken for the file f */
    uint64_t base;         /* of the next ids: a segment of this writer */
    uint32_t n;            /* ids used; > MSG_ID_N_MAX: a new base is due */
    struct list turn; /* records in memory, and how long they are together */
    uint64_t bytes;
    struct list larges, moves; /* of this turn */
    /* With children: what is confirmed of f, and the segments before that have
     * something behind their confirmed word. */
    uint64_t confirmed;
    struct list behind;
    uint32_t nchildren; /* in this turn */
    bool unsure;        /* a turn that failed may come back after a cut */
    struct pool *adds;
    int wake_fd;
    uint64_t room_ms, room_bytes, room_inodes; /* as asked at room_ms */
    struct iovec v[SPOOL_VECTORS];
};

/* A segment that is left, and where its records end. */
struct spool_behind {
    struct list link;
    uint64_t id, end;
};
/* Without memory it stays behind its word until the next start. */
void spool_writer_note_behind(struct spool_writer *w, uint64_t id,
                              uint64_t end);

struct spool_writer_kind {
    enum spool_name name;
    uint32_t children; /* as in the header of a segment */
    uint64_t segment_size;
};
int spool_writer_open_as(struct spool_writer **w, const char *queue_dir,
                         const struct spool_writer_kind *kind, struct err *e);
int spool_writer_open_sized(struct spool_writer **w, const char *queue_dir,
                            enum spool_name name, uint64_t segment_size,
                            struct err *e);

/* Add a message to the turn.  Unless the body is in memory, copy is it, as it
 * stands in the file, and from malloc(): taken in any case. */
int spool_writer_add(struct spool_writer *w, const struct spool_submission *m,
                     const struct body *body, char *copy, struct err *e);

/* Make sure that n bytes and the turn fit into w->f, in a new one if need
 * be. */
int spool_writer_reserve(struct spool_writer *w, uint64_t n, struct err *e);
#endif
