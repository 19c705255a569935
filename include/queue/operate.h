/* queue/operate.h - what an operator asks of a queue: hold, release, retry,
 * delete, flush.
 *
 * For the queue's consumer, or a tool that has its lock.  A recipient that is
 * in the hands of a session or a mailbox process when it is held or deleted
 * ends there as it ends; if it would have been tried again, it is held or
 * deleted then.  Its slot has that at once, so a restart keeps it. */
#ifndef MTA_QUEUE_OPERATE_H
#define MTA_QUEUE_OPERATE_H

#include "base/buf.h"
#include "queue/queue.h"
#include "queue/select.h"

#include <sys/types.h>

enum queue_verb {
    QUEUE_HOLD,    /* not tried until it is released */
    QUEUE_RELEASE, /* what is held, by whomever, is due */
    QUEUE_RETRY,   /* what waits is due */
    QUEUE_DELETE,  /* without a notice */
    QUEUE_FLUSH    /* as retry; also what hosts did is forgotten, and what the
                    * sender holds is released */
};

enum { QUEUE_OPERATION_TEXT = 512 };

struct queue_operation {
    enum queue_verb verb;
    bool dry; /* only count */
    struct queue_select select;
    uid_t uid;                /* of the operator, for the log */
    uint64_t rcpts, messages; /* that it was for, so far */
    uint64_t failed; /* recipients that stay as they are: a disk error */
    uint64_t ended;  /* the last piece, us; 0: none has */
    bool begun, finished;
    bool incomplete; /* there is mail that is not read yet */
    struct spool_cursor cursor;
    uint32_t slot;                   /* not 0: where the message goes on; ... */
    uint32_t here;                   /* ... so many of its recipients so far */
    struct spool_record rec;         /* ... its record */
    char text[QUEUE_OPERATION_TEXT]; /* of the selection */
};

/* VERB [dry-run] all | id ID[,ID]... | [domain D] [sender A]; the words of
 * VERB are those of enum queue_verb.  1: it is another command; -1 with *e. */
int operate_parse(struct queue_operation *op, const char *command,
                  struct err *e);

/* A piece of it, 4 to 20 ms long; the first one only asks for a scan, so that
 * what was committed before is in it.  True: there is more to do.  In any case
 * operate_end() comes last, also before the operation is complete. */
bool operate_piece(struct queue *q, struct queue_operation *op);
void operate_end(struct queue *q, struct queue_operation *op);

/* A piece, and the lines of the control protocol for it: "progress N", at last
 * "matched N recipients M messages", with " incomplete" behind it when mail is
 * not read yet, and "failed N" if there were disk errors.  1: there is more to
 * do; 0. */
int operate_answer(struct queue *q, struct queue_operation *op,
                   struct buf *answer);

/* "waiting N": so many recipients are to be tried, now or later. */
void operate_waiting(const struct queue *q, struct buf *answer);

/* --- for src/queue alone -------------------------------------------------- */

/* It would be tried again, and is in no list: it becomes what it is asked to
 * be.  False: nothing is asked any more. */
bool operate_came_back(struct queue *q, struct rcpt *r);
/* What the slot of one that is in hand has to stay. */
enum spool_state operate_asked(struct queue *q, const struct rcpt *r);
/* Free messages that are done since the last turn. */
void operate_sweep(struct queue *q);
#endif
