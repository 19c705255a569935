/* send/sched.h - the main thread of the sender: what it knows, and how its
 * parts call each other.  For src/send alone.
 *
 *   intake.c    queue -> messages -> recipients, sorted by destination
 *   dest.c      a destination: what to do with due mail (lookup.c: DNS)
 *   lane.c      a peer: its session, its window of jobs, its bad times
 *   dispatch.c  message and recipients -> job
 *   outcome.c   answers -> slots, log, calendar
 *   mark.c      slots -> queue
 *   bounce.c    notices to senders */
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
    SCHED_MARKS_MAX = 10000, /* owed to a disk that does not take them */
};

struct sched {
    const struct conf *conf;
    struct self self;
    struct retry_rule rule;
    struct loop *loop;
    struct dns *dns;
    struct local *local;
    struct spool_queue *queue;
    struct spool_writer *writer;
    struct pool *messages, *rcpts, *blocks, *marks;
    struct map dests, lanes;
    struct dest_memo memo[DEST_MEMOS];
    struct calendar calendar;
    struct message *unread; /* the disk did not give them */
    struct list ready;      /* dests with something to do now */
    struct list unresolved; /* dests that wait for a free query */
    struct list idle;       /* dests without recipients, oldest first */
    struct list opening;    /* lanes */
    unsigned resolving, open_sessions;
    struct lane *local_lane;
    struct send_worker *worker[SCHED_WORKERS_MAX + 1]; /* the last: mailboxes */
    unsigned nworkers;                                 /* without it */
    struct list notices; /* jobs whose senders are owed something */
    struct list owed;    /* marks that could not be written */
    uint64_t pending;    /* recipients to be tried, now or later */
    uint64_t jobs_out;
    uint64_t start_ms;
    bool stopping, dirty, finished_some, scan_now;
    bool no_more; /* mail that a scan finds from now on waits; but notices */
    bool unseen;  /* the last scan left out mail: no memory, or a bad disk */
};

/* Seconds since the start plus one, monotonic; 0 is never a time. */
uint32_t sched_seconds(const struct sched *s);

/* intake.c */
int intake_scan(struct sched *s, struct err *e);
void rcpt_release(struct sched *s, struct rcpt *r); /* mark it gone */
uint32_t message_left(const struct sched *s,
                      const struct message *m);         /* seconds */
void message_sweep(struct sched *s, struct message *m); /* drop the gone */

/* dispatch.c */
/* Take the first due recipient of d and all due ones of its message that can
 * go the same way, and give them to the lane.  False: it did not work; what
 * was taken will be tried again. */
bool dispatch_one(struct sched *s, struct dest *d, struct lane *l);
/* The same for an answer that we give ourselves; host (may be NULL) is the
 * peer that is the cause. */
void dispatch_answer(struct sched *s, struct dest *d, const struct answer *a,
                     const char *host);

/* outcome.c */
void outcome_apply(struct sched *s, struct job *j); /* takes the job */
void outcome_later(struct sched *s, struct rcpt *r, uint32_t seconds);
/* From bounce.c, takes the job: its notices are durable (bounce: the id of
 * the message that tells of failures), or, with NULL, could not be written. */
void outcome_settled(struct sched *s, struct job *j, const char *bounce);

/* mark.c */
struct pool *mark_pool(void);
/* Write the state of a recipient into its slot; what fails is in the log. */
void mark_put(struct sched *s, struct message *m, uint32_t index,
              const struct spool_slot *slot);
void mark_again(struct sched *s); /* those that failed, up to the next */

/* bounce.c */
void bounce_flush(struct sched *s);
#endif
