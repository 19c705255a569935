/* queue/handover.h - replace recipients of a message by others: by a child
 * (spool/handover.h), in the same queue or in the other one.
 *
 * For the queue's owner, which knows what an alias stands for, or that a
 * recipient belongs to the other queue.  It takes due recipients of a message
 * out of its own lists and calls queue_hand_over() once for each child: all
 * that can be resolved now, before anything of the message is offered.  The
 * children of a turn share one commit with its notices, in queue_flush(). */
#ifndef MTA_QUEUE_HANDOVER_H
#define MTA_QUEUE_HANDOVER_H

#include "queue/queue.h"

/* A recipient of the child. */
struct queue_target {
    const char *address; /* forward-path, without <> */
    const char *mailbox; /* key of its mailbox, aliases are done; NULL or "":
                          * none */
    bool here;           /* its address literal is ours */
    uint16_t slot; /* of the parent: the recipient that it stands for, whose
                    * ORCPT and NOTIFY go along */
    const char *orcpt, *notify; /* in place of these; NULL: the same */
};

/* Read during the call only. */
struct queue_child {
    struct message *parent;
    struct rcpt *const *rcpt; /* to be replaced, by slot, in no list */
    size_t nrcpt;
    const struct queue_target *target; /* by slot; no two are equal */
    size_t ntarget;
    enum spool_name to;
    /* NULL: the parent's.  Another one is that of a list, which goes on without
     * what the sender asked for (RFC 3461 5.2.7.1). */
    const char *reverse_path;
    struct span front; /* header fields, whole lines: in front of the text */
};

/* Add a child to the turn.  0: its recipients are the queue's from now on, and
 * after the next commit, which may be part of a later call, they are gone and
 * perhaps their message too; or due again in a minute, if that fails.
 * 1 with *e: the parent is of the last level (5.4.6).  -1 with *e, ERR_PERM:
 * the message is damaged; ERR_TEMP: not now.  Then they are still the
 * owner's. */
int queue_hand_over(struct queue *q, const struct queue_child *c,
                    struct err *e);

/* May a recipient that belongs to the other queue be handed over?  tables: of
 * SPOOL_F_TABLES in its envelope; n 0: there is none.  False: the other
 * consumer has handed it over by tables that are no older than those of this
 * process; it waits (4.3.5) for a renewal. */
bool queue_may_hand_over(const struct queue *q, struct span tables);

/* This process has other tables: what waited for that is due. */
void queue_tables_renewed(struct queue *q);

/* At the end of each turn: make notices and children durable, one commit a
 * queue, then mark and release what they are for. */
void queue_flush(struct queue *q);

/* Make slots durable, and confirm the children.  -1: call it again, unless
 * queue_is_lost(). */
int queue_confirm(struct queue *q, struct err *e);

/* Has a sync failed so that only a new start of the process finds out what is
 * on the disk?  With *e: it has to end. */
bool queue_is_lost(const struct queue *q, struct err *e);

/* At the end of the process, before queue_close(): flush and confirm. */
void queue_finish(struct queue *q);

/* For bounce.c: the commit of the turn.  failed: by queue.  Not before
 * queue_may_commit(): marks of the turn before come first. */
bool queue_may_commit(struct queue *q);
void queue_commit(struct queue *q, bool failed[SPOOL_QUEUES]);

/* For queue_close(): what was never committed. */
void handover_forget(struct queue *q);
#endif
