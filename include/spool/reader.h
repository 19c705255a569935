/* spool/reader.h - read one record in place, and all records of a queue.
 *
 * For the queue's consumer and for tools, which need no lock and may read with
 * or without a running daemon. */
#ifndef MTA_SPOOL_READER_H
#define MTA_SPOOL_READER_H

#include "base/body.h"
#include "base/err.h"
#include "spool/envelope.h"
#include "spool/format.h"

struct spool_records;

struct spool_reader {
    const struct spool_record *rec;
    enum spool_name queue;
    int fd; /* of the segment, for spool_reader_* and the body */
    uint64_t at;
    const struct spool_records *records; /* has read some of it, or NULL */
};

int spool_reader_slot(const struct spool_reader *v, uint32_t index,
                      struct spool_slot *slot, struct err *e);

/* Call fn for each field of the envelope in order (see spool_field).  Stops
 * when fn returns non-zero and returns that; -1 with *e on failure, which is
 * ERR_PERM when the envelope is damaged. */
typedef int spool_field_fn(void *ctx, enum spool_field type,
                           struct span content);
int spool_reader_envelope(const struct spool_reader *v, spool_field_fn *fn,
                          void *ctx, struct err *e);
/* The same for one that was read and verified before. */
int spool_reader_fields(struct span fields, spool_field_fn *fn, void *ctx,
                        struct err *e);
/* The same for the internal late fields. */
int spool_reader_late(const struct spool_reader *v, spool_field_fn *fn,
                      void *ctx, struct err *e);
/* The body, the front fields before it.  Its own octets are checked while
 * they are read (body_next()). */
int spool_reader_body(const struct spool_reader *v, struct body *body,
                      struct err *e);

/* Call fn for every record of both queues.  0; the result of fn when it is not
 * 0; -1 with *e.  Records without a pending or held recipient are shown only
 * with `all`. */
typedef int spool_read_fn(void *ctx, const struct spool_reader *v);
int spool_read_all(const char *queue_dir, bool all, spool_read_fn *fn,
                   void *ctx, struct err *e);

/* The same for all records of one message, also those that are done.  Reads
 * only the segments that may have one, if it can. */
int spool_read_id(const char *queue_dir, struct msg_id id, spool_read_fn *fn,
                  void *ctx, struct err *e);

/* Does a process hold the lock of its consumer (spool/queue.h)?  False if that
 * is not known, too. */
bool spool_has_consumer(const char *queue_dir, enum spool_name name);

/* Has the queue a record with a pending or held recipient, and no consumer
 * (spool/queue.h)?  False if that is not known, too. */
bool spool_is_unattended(const char *queue_dir, enum spool_name name);
#endif
