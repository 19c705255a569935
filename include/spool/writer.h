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

/* The first message opens a segment (claimed by name, held by flock,
 * preallocated, durable with its directory entry), so that a queue without mail
 * takes no room.  Call it after the fork: a child must not use an inherited
 * writer. */
int spool_writer_open(struct spool_writer **w, const char *queue_dir,
                      enum spool_name name, struct err *e);

/* The same for a process that holds the queue `parents`: its messages may be
 * children of those in that queue (spool/handover.h). */
int spool_writer_open_parents(struct spool_writer **w, const char *queue_dir,
                              enum spool_name name, enum spool_name parents,
                              struct err *e);

/* The id of the next message; never issued twice, whether the message is stored
 * or not. */
int spool_writer_new_id(struct spool_writer *w, struct msg_id *id,
                        struct err *e);

/* Fields known only when the body is complete. */
struct spool_late {
    struct chain front;  /* header fields, whole lines: sent before the body */
    struct chain fields; /* as in an envelope, internal */
};

struct spool_submission {
    struct msg_id id;
    uint64_t part;    /* not 0: a child, of spool/handover.h */
    uint64_t arrival; /* wall clock, us */
    uint32_t nrcpt, flags;
    const struct chain *envelope;  /* encoded fields */
    const struct spool_late *late; /* NULL: none */
};

/* Make all messages added since the last commit durable with one sync of the
 * segment (and of each large one), then visible.  After success each of them
 * survives a power cut, and the sender is woken; after a failure none of them
 * exists, and the writer has moved to a new segment or fails again at the next
 * call.  Does nothing if no message was added. */
int spool_writer_commit(struct spool_writer *w, struct err *e);

/* Discard the messages added since the last commit. */
void spool_writer_rollback(struct spool_writer *w);

/* Accepts NULL; *w is NULL afterwards.  An empty segment is removed. */
void spool_writer_close(struct spool_writer **w);
#endif
