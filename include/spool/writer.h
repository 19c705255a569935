/* spool/writer.h - append messages to this process's segment of the queue.
 *
 * spool/submit.h and spool/large.h add messages to a turn of the writer; the
 * commit makes them durable and visible, all at once.
 *
 * One writer per process; not for threads.  Functions return 0, or -1 with
 * *e filled in; none logs.  Crash rules: docs/spool.md. */
#ifndef MTA_SPOOL_WRITER_H
#define MTA_SPOOL_WRITER_H

#include "base/body.h"
#include "base/chain.h"
#include "base/err.h"
#include "base/msg_id.h"
#include "spool/envelope.h"
#include "spool/format.h"

struct spool_writer; /* an open segment and what this turn added to it */

enum { SPOOL_TURN_MAX = 4096 }; /* messages between two commits */

/* Opens a fresh segment (claimed by name, held by flock, preallocated, made
 * durable together with its directory entry); if the disk is full, the first
 * message that finds room will.  Not before the fork: a child
 * that inherits a writer must not touch it. */
int spool_writer_open(struct spool_writer **w, const char *queue_dir,
                      enum spool_name name, struct err *e);

/* The id of the next message; never given twice, whether it is then stored
 * or not. */
int spool_writer_new_id(struct spool_writer *w, struct msg_id *id,
                        struct err *e);

/* What is known of a message only when its body is complete. */
struct spool_late {
    struct chain front;  /* header fields, whole lines: sent before the body */
    struct chain fields; /* as in an envelope, for ourselves */
};

struct spool_submission {
    struct msg_id id;
    uint64_t arrival; /* wall clock, us */
    uint32_t nrcpt, flags;
    const struct chain *envelope;  /* encoded fields */
    const struct spool_late *late; /* NULL: none */
};

/* One sync of the segment (and of each large) for all that was added since
 * the last commit; then they are visible.  After success every one of them
 * survives a power cut and the sender has been woken; after failure none of
 * them exists and the writer has moved to a fresh segment or says so at the
 * next call.  Nothing added: nothing is done. */
int spool_writer_commit(struct spool_writer *w, struct err *e);

/* Take back what was added since the last commit. */
void spool_writer_rollback(struct spool_writer *w);

/* Accepts NULL; *w is NULL afterwards.  An empty segment is removed. */
void spool_writer_close(struct spool_writer **w);
#endif
