/* spool/handover.h - replace recipients of a message by another record, exactly
 * once across any crash.
 *
 * For the process that holds a queue, the parents' one: it expands aliases, and
 * hands over recipients that belong to the other queue.  Order of its calls:
 *
 *   spool_queue_open(), spool_handover_start(), then the first scan;
 *   spool_writer_open_parents() in each queue that takes children, and
 *   spool_handover_open();
 *   a step: append any number of children, commit, mark, in one go;
 *   spool_handover_confirm() instead of spool_queue_sync(), once a second;
 *   spool_handover_close(), then its writers, then the queue.
 *
 * Crash states: docs/spool.md, "Hand-over".  Not for threads.  Functions return
 * 0, or -1 with *e. */
#ifndef MTA_SPOOL_HANDOVER_H
#define MTA_SPOOL_HANDOVER_H

#include "spool/message.h"
#include "spool/writer.h"

struct spool_handover;

enum { SPOOL_UNCONFIRMED_MAX = SPOOL_TURN_MAX };

/* One record in the place of some slots of its parent.  The caller's; parent
 * and slots stay until spool_handover_mark(), chains until the commit. */
struct spool_child {
    struct list link; /* in the step */
    struct spool_message *parent;
    const uint16_t *slots; /* ascending, pending or held; at least one */
    uint32_t nslots;
    enum spool_name to;
    /* id, part and envelope are set by spool_handover_append(). */
    struct spool_submission m;
    struct chain *envelope; /* a field with the slots is added */
    struct pool *blocks;
    bool failed; /* after a commit: it does not exist, its slots wait */
};

/* Before the first scan of the open queue: mark the parents of children that a
 * predecessor did not confirm, in both queues.  -1: do not go on. */
int spool_handover_start(struct spool_queue *q, const char *queue_dir,
                         struct err *e);

/* to: this process's writers, by queue; NULL: none.  They and q stay. */
int spool_handover_open(struct spool_handover **h, struct spool_queue *q,
                        struct spool_writer *const to[SPOOL_QUEUES],
                        struct err *e);

/* Add a child to the step, as spool_submit() does.  1 with *e: its parent is of
 * the last level (5.4.6 for these slots).  -1: not now; clear its chains.
 * After SPOOL_UNCONFIRMED_MAX children it is ERR_TEMP until the next
 * confirm. */
int spool_handover_append(struct spool_handover *h, struct spool_child *c,
                          const struct body *body, struct err *e);

/* Commit the writers, with all else that was submitted to them.  -1: one of
 * them failed, and the children for its queue have `failed` set; those of the
 * other are published. */
int spool_handover_commit(struct spool_handover *h, struct err *e);

/* Did the last commit of that queue's writer fail? */
bool spool_handover_failed(const struct spool_handover *h, enum spool_name to);

/* Mark the slots of published children as expanded, in the newest copy of their
 * parents; each child is the caller's again.  -1: call it again. */
int spool_handover_mark(struct spool_handover *h, struct err *e);

/* Sync marks and directory of the parents' queue, then confirm all children
 * that are marked.  -1: call it again, unless spool_handover_lost(). */
int spool_handover_confirm(struct spool_handover *h, struct err *e);

/* Has a sync failed in such a way that only a new start of the process can find
 * out what is on the disk?  Append and confirm fail from then on. */
bool spool_handover_lost(const struct spool_handover *h);

/* Confirms first.  Accepts NULL; *h is NULL afterwards. */
void spool_handover_close(struct spool_handover **h);
#endif
