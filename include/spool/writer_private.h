/* spool/writer_private.h - the inside of a writer.
 *
 * For src/spool only: writer.c, solo.c and copy.c share it; tests open
 * writers with small segments. */
#ifndef MTA_SPOOL_WRITER_PRIVATE_H
#define MTA_SPOOL_WRITER_PRIVATE_H

#include "base/list.h"
#include "base/pool.h"
#include "spool/segment.h"
#include "spool/writer.h"

#include <sys/uio.h>

enum { SPOOL_VECTORS = 1024 }; /* IOV_MAX of Linux */

struct spool_writer {
    char dir[SPOOL_DIR];
    struct spool_file f;   /* fd -1: none; the next turn opens one */
    uint64_t segment_size; /* of those to come */
    uint64_t at;           /* end of the records written; >= f.h.committed */
    uint64_t filled;       /* no block before it is written first by a turn */
    bool announced;        /* the sender was told of the file f */
    uint64_t base;         /* of ids to come: a segment that we claimed */
    uint32_t n;            /* how many; > MSG_ID_N_MAX: a new base is due */
    struct list turn; /* records in memory, and how long they are together */
    uint64_t bytes;
    struct list solos, copies; /* of this turn */
    struct pool *adds;
    int wake_fd;
    uint64_t room_ms, room_bytes, room_inodes; /* as asked at room_ms */
    struct iovec v[SPOOL_VECTORS];
};

int spool_writer_open_sized(struct spool_writer **w, const char *queue_dir,
                            uint64_t segment_size, struct err *e);

/* Make sure that n bytes and the turn fit into w->f, in a new one if need
 * be. */
int spool_writer_reserve(struct spool_writer *w, uint64_t n, struct err *e);

/* Add a copy of a record, slots as they are, with a higher generation; the
 * caller has reserved the room.  *r becomes the new record, *at its place in
 * w->f.  After failure the turn must be rolled back; ERR_PERM: the old record
 * has rotted. */
int spool_writer_copy(struct spool_writer *w, struct spool_record *r, int fd,
                      uint64_t *at, struct err *e);
/* The headers of the copies, after a sync of what they stand for. */
int spool_copies_finish(struct spool_writer *w, struct err *e);
void spool_copies_forget(struct spool_writer *w);

/* The steps of a commit that concern solo segments. */
int spool_solos_sync(struct spool_writer *w, struct err *e);
int spool_solos_rename(struct spool_writer *w, struct err *e);
void spool_solos_publish(struct spool_writer *w);
void spool_solos_undo(struct spool_writer *w);

/* Collect pieces and write them in as few calls as possible. */
struct spool_sink {
    int fd;
    uint64_t at; /* where v[0] goes */
    size_t bytes;
    int n;
    struct iovec *v;
};
int spool_sink_add(struct spool_sink *k, const void *p, size_t n);
int spool_sink_zeros(struct spool_sink *k, uint64_t n);
int spool_sink_chain(struct spool_sink *k, const struct chain *c);
int spool_sink_flush(struct spool_sink *k);
uint32_t spool_chain_crc(uint32_t crc, const struct chain *c);
#endif
