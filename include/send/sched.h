/* send/sched.h - the state of the sender's main thread, which its parts share.
 * For src/send alone.
 *
 *   queue_scan       queue -> messages -> recipients, sorted by destination
 *   recipients       messages and recipients in memory, from scan to end
 *   lookup_turns     which destination is looked up next
 *   destination      due mail of a destination; destination_dns: its hosts
 *   lane             a peer: its session, its window of deliveries, its pauses
 *   assign           a turn's work: which due mail goes to which lane
 *   dispatch         message and recipients -> delivery
 *   result           answers -> slots, log, retry queue
 *   slots            slots -> queue
 *   bounce           notices to senders
 *   housekeeping     scan, sync and reclaim in their intervals */
#ifndef MTA_SEND_SCHED_H
#define MTA_SEND_SCHED_H

#include "base/map.h"
#include "base/pool.h"
#include "config/conf.h"
#include "dns/hosts.h"
#include "net/loop.h"
#include "queue/retry_queue.h"
#include "queue/retry_rule.h"
#include "recipient/resolve.h"
#include "send/delivery.h"
#include "send/destination.h"
#include "send/lookup_turns.h"
#include "send/mx_ranks.h"
#include "spool/queue.h"
#include "spool/writer.h"

enum {
    SCHED_WORKERS_MAX = 64,
    SCHED_MESSAGES_MAX = 4 * 1000 * 1000,
    SCHED_RCPTS_MAX = 8 * 1000 * 1000,
    SCHED_SESSIONS_MAX = 640, /* with DNS and the queue below FD_SETSIZE */
    SCHED_MARKS_MAX = 10000,  /* slots that the disk did not take yet */
};

/* Calls out of the scheduler that a unit test plays: to workers and to the
 * DNS. */
struct sched_calls {
    void (*give)(struct send_worker *w, struct work_item *n);
    void (*hurry)(struct send_worker *w, bool on);
    struct mx_query *(*ask_mx)(struct dns *d, const char *domain, unsigned want,
                               mx_fn *fn, void *ctx, struct err *e);
    void (*cancel_mx)(struct mx_query *q);
};

/* Each group has one owner, the file named with it; other files call its
 * functions.  The ready lists are the only way up: lanes, look-ups and results
 * put their work there (ready.h), and assign.c takes it out. */
struct sched {
    const struct sched_calls *calls;
    const struct conf *conf;
    struct own_host self;
    struct retry_rule rule;
    struct loop *loop;
    struct dns *dns;
    struct dns_hosts hosts; /* for next hops that are settings */
    struct local *local;
    struct spool_queue *queue;
    struct spool_writer *writer;
    struct send_worker *worker[SCHED_WORKERS_MAX + 1]; /* the last: mailboxes */
    unsigned nworkers;                                 /* without it */
    uint64_t start_ms;
    bool stopping;

    struct {                    /* queue_scan.c */
        struct message *unread; /* could not be read from the disk */
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
    struct { /* destination.c, destination_dns.c */
        struct map all;
        struct destination_memo memo[DESTINATION_MEMOS];
        struct lookup_turns lookups;
        struct list idle; /* without recipients, oldest first */
    } destination;
    struct { /* lane.c */
        struct map all;
        struct lane *local;
        struct list opening; /* wait for a descriptor */
        unsigned sessions;
        uint64_t deliveries; /* given to workers and not back */
    } lane;
    struct { /* ready.c */
        struct list destinations, lanes;
    } ready;
    struct { /* slots.c */
        struct pool *pool;
        struct list unwritten; /* slots that the disk did not take */
        bool dirty;
    } slot;
    struct { /* bounce.c */
        struct pool *blocks;
        struct list deliveries; /* with notices to write */
    } notice;
};

/* Seconds since the start plus one, monotonic; 0 is never a time. */
static inline uint32_t sched_seconds(const struct sched *s)
{
    return (uint32_t)((loop_now(s->loop) - s->start_ms) / 1000) + 1;
}

/* Everything but the workers.  On failure too, the caller calls
 * sched_close(). */
int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e);
void sched_close(struct sched *s);
#endif
