/* send/sched.h - the state of the sender's main thread, which its parts share:
 * For src/send alone.
 *
 *   queue_scan       queue -> messages -> recipients, sorted by destination
 *   destination      due mail of a destination; destination_dns: its hosts
 *   lane             a peer: its session, its window of deliveries, its pauses
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
#include "net/loop.h"
#include "queue/retry_queue.h"
#include "queue/retry_rule.h"
#include "recipient/resolve.h"
#include "send/delivery.h"
#include "send/destination.h"
#include "send/mx_order.h"
#include "spool/queue.h"
#include "spool/writer.h"

enum {
    SCHED_WORKERS_MAX = 64,
    SCHED_MESSAGES_MAX = 4 * 1000 * 1000,
    SCHED_RCPTS_MAX = 8 * 1000 * 1000,
    SCHED_SESSIONS_MAX = 640, /* with DNS and the queue below FD_SETSIZE */
    SCHED_RESOLVING_MAX = 64,
    SCHED_MARKS_MAX = 10000, /* slots that the disk did not take yet */
};

struct sched {
    const struct conf *conf;
    struct own_host self;
    struct retry_rule rule;
    struct loop *loop;
    struct dns *dns;
    struct local *local;
    struct spool_queue *queue;
    struct spool_writer *writer;
    struct pool *messages, *rcpts, *blocks, *marks;
    struct map destinations, lanes;
    struct destination_memo memo[DESTINATION_MEMOS];
    struct retry_queue retry_queue;
    struct message *unread; /* could not be read from the disk */
    struct list ready;      /* destinations with something to do now */
    struct list unresolved; /* destinations that wait for a free query */
    struct list idle;       /* destinations without recipients, oldest first */
    struct list opening;    /* lanes */
    unsigned resolving, open_sessions;
    struct lane *local_lane;
    struct send_worker *worker[SCHED_WORKERS_MAX + 1]; /* the last: mailboxes */
    unsigned nworkers;                                 /* without it */
    struct list notices; /* deliveries with notices to write */
    struct list owed;    /* slots that could not be written */
    uint64_t pending;    /* recipients to be tried, now or later */
    uint64_t deliveries_out;
    uint64_t start_ms;
    bool stopping, dirty, finished_some, scan_now;
    bool no_more; /* new mail found by a scan waits, but for notices */
    bool unseen;  /* the last scan skipped mail: no memory, or a read error */
};

/* Seconds since the start plus one, monotonic; 0 is never a time. */
uint32_t sched_seconds(const struct sched *s);

/* Everything but the workers.  On failure too, the caller calls
 * sched_close(). */
int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e);
void sched_close(struct sched *s);
#endif
