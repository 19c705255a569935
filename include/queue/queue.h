/* queue/queue.h - what waits in a queue on the disk, as its one consumer has it
 * in memory.  Shared by the processes that consume one; not for threads.
 *
 *   scan             records -> messages and recipients
 *   recipients       messages and recipients, from scan to end
 *   retry_queue      those that wait for their next try; retry_rule: how long
 *   delivery         a message and some of its recipients, with their answers
 *   result           answers -> slots, log, retry queue
 *   select, operate  what an operator asks for: hold, release, retry, delete
 *   held             those that have waited too long for a setting of ours
 *   slots            slots -> disk
 *   bounce           notices to senders
 *   handover         children in the place of recipients; the turn's commit
 *   housekeeping     scan, sync and reclaim in their intervals
 *   history          what happened, for `mta queue show`
 *
 * Where a recipient's mail goes is for the owner to know: its place. */
#ifndef MTA_QUEUE_QUEUE_H
#define MTA_QUEUE_QUEUE_H

#include "base/pool.h"
#include "config/conf.h"
#include "net/loop.h"
#include "queue/counters.h"
#include "queue/delivery.h"
#include "queue/message.h"
#include "queue/owner.h"
#include "queue/retry_queue.h"
#include "queue/retry_rule.h"
#include "spool/handover.h"
#include "spool/queue.h"

enum {
    QUEUE_MESSAGES_MAX = 4 * 1000 * 1000,
    QUEUE_RCPTS_MAX = 8 * 1000 * 1000,
    QUEUE_BLOCKS = 8192 /* 32 MiB of notices and envelopes in a turn */
};

struct history;

struct queue_sender {
    uint32_t hash; /* of the reverse-path */
    uint8_t n;     /* 0: none */
    char path[59];
};
/* Stands in the owner's own struct: QUEUE_ENTRY() finds that back. */
struct queue {
    const struct queue_owner *owner;
    const struct queue_events *events;
    const struct conf *conf;
    enum spool_name name;
    struct loop *loop; /* the owner's */
    struct retry_rule rule;
    uint64_t start_ms;
    struct spool_queue *spool;
    struct spool_writer *writer[SPOOL_QUEUES];
    struct counters *counters; /* NULL: no memory */
    struct history *history;   /* NULL: there is none */
    bool keeps_history; /* set by a tool, whose settings may be others: the
                         * ring stays as the consumer made it */

    struct {                    /* scan.c */
        struct message *unread; /* could not be read from the disk */
        struct queue_sender last;
        bool wanted;
        bool closed;     /* new mail found by a scan waits, but for notices */
        bool incomplete; /* the last one skipped mail: memory, a read error */
    } scan;
    struct { /* recipients.c */
        struct pool *messages, *rcpts;
        struct retry_queue retry;
        uint64_t pending; /* recipients to be tried, now or later */
        bool reclaimable; /* a message ended since the last reclaim */
    } memory;
    struct { /* held.c */
        struct list rcpts;
        uint64_t n, unreported;
        uint32_t reported;             /* when */
        char why[SPOOL_REPLY_MAX + 2]; /* of the last one */
        bool found;                    /* by the scan that is under way */
    } held;
    struct {              /* operate.c */
        struct list gone; /* recipients of messages that are to be swept */
        uint64_t failed;  /* slots that the disk did not give or take */
    } operate;
    struct { /* slots.c */
        struct pool *pool;
        struct list unwritten; /* slots that the disk did not take */
        bool dirty;
    } slot;
    struct { /* bounce.c */
        struct pool *blocks;
        struct list deliveries, unwritten; /* with notices; not written... */
        uint32_t again;                    /* ... until then */
    } notice;
    struct { /* handover.c */
        struct spool_handover *spool;
        struct list steps; /* children of this turn */
        uint32_t n;        /* so many are not committed */
        uint64_t bytes;    /* of their texts */
        bool published;    /* and their slots are not marked yet */
        uint32_t unconfirmed;
        uint64_t tables; /* wall clock, us: since when the owner has its own */
    } handover;
};
#define QUEUE_ENTRY(q, type, member)                                           \
    ((type *)(void *)((char *)(q)-offsetof(type, member)))

/* Seconds since the start plus one, monotonic; 0 is never a time. */
static inline uint32_t queue_seconds(const struct queue *q)
{
    return (uint32_t)((loop_now(q->loop) - q->start_ms) / 1000) + 1;
}

/* Log a fault of the queue itself. */
void queue_log_fault(const struct queue *q, const char *event,
                     const struct err *e);

/* Open the queue of that name; owner, events, conf and loop are set, all else
 * is zero.  On failure too, the caller calls queue_close(). */
int queue_open(struct queue *q, enum spool_name name, struct err *e);
void queue_close(struct queue *q);
#endif
