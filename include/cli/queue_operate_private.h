/* cli/queue_operate_private.h - what an operation through a consumer and one
 * without share.  For src/cli/queue_operate.c and queue_offline.c alone. */
#ifndef MTA_CLI_QUEUE_OPERATE_PRIVATE_H
#define MTA_CLI_QUEUE_OPERATE_PRIVATE_H

#include "base/err.h"
#include "cli/queue_operate.h"
#include "spool/format.h"

#include <stdint.h>
#include <sys/types.h>

struct queue_verb_words {
    const char *word, *done, *would;
};

struct queue_operating {
    const struct options *o;
    const struct queue_operate_flags *f;
    const struct queue_verb_words *verb;
    uid_t uid;                /* of the operator */
    uint64_t before;          /* recipients of earlier answers */
    uint64_t rcpts, messages; /* that it was for */
    uint64_t began;           /* ms */
    uint64_t failed;          /* that stay as they are */
    uint64_t unlogged;        /* that no log has */
    bool logs;                /* of what is done here */
    bool shown, incomplete;   /* shown: a line of progress */
    int next_id;              /* of the operands */
};

/* The next command for a consumer, with as many ids as it takes; false: that
 * was the last.  p->next_id is 1 before the first. */
enum { QUEUE_OPERATE_COMMAND = 480 };
bool queue_operate_next(struct queue_operating *p,
                        char out[QUEUE_OPERATE_COMMAND]);

/* So many recipients of the command in hand. */
void queue_operate_show(struct queue_operating *p, uint64_t n);

/* Once before queue_operate_here(): open the log, and become the user of the
 * queue, because files that are made belong to it. */
int queue_operate_begin_here(struct queue_operating *p, struct err *e);

/* All commands, on the disk.  -1 with *e; its sys is EWOULDBLOCK when another
 * process has the lock of the queue. */
int queue_operate_here(struct queue_operating *p, enum spool_name name,
                       struct err *e);
#endif
