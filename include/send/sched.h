/* send/sched.h - the main thread of the sender: what it knows, and how its
 * parts call each other.  For src/send alone.
 *
 *   intake.c    queue -> messages -> recipients, sorted by destination
 *   dest.c      a destination: look-up, tiers, what to do with due mail
 *   lane.c      a peer: its session, its window of jobs, its bad times
 *   dispatch.c  message and recipients -> job
 *   outcome.c   answers -> slots, log, calendar
 *   bounce.c    notices to senders */
#ifndef MTA_SEND_SCHED_H
#define MTA_SEND_SCHED_H

#include "base/map.h"
#include "base/pool.h"
#include "config/conf.h"
#include "dns/mx.h"
#include "mail/local.h"
#include "net/loop.h"
#include "send/calendar.h"
#include "send/job.h"
#include "send/message.h"
#include "send/retry.h"
#include "send/route.h"
#include "send/tiers.h"
#include "send/worker.h"
#include "spool/store.h"
#include "spool/writer.h"

enum {
    SCHED_WORKERS_MAX = 64,
    SCHED_MESSAGES_MAX = 4 * 1000 * 1000,
    SCHED_RCPTS_MAX = 8 * 1000 * 1000,
    SCHED_SESSIONS_MAX = 800, /* descriptors below FD_SETSIZE, with reserve */
    SCHED_RESOLVING_MAX = 128,
    LANE_WINDOW = 16 /* jobs given ahead, so that its pipe never runs dry */
};

/* One remote address and port: at most one session, so one socket. */
struct lane {
    struct map_link link;
    struct addr peer;
    bool local;          /* our own mailboxes: no session */
    struct list waiting; /* hops of destinations with due mail */
    struct list opening; /* waits for a descriptor */
    struct session *session;
    struct worker *worker;
    unsigned refs;       /* hops */
    unsigned out;        /* jobs given and not back */
    bool ended;          /* the session is over; jobs are on their way back */
    unsigned failures;   /* in a row */
    uint64_t down_until; /* ms of the loop */
    bool down_local;     /* by our own fault: no attempt is counted */
    struct answer why;   /* of being down */
    char name[];         /* of the host */
};

/* A destination's use of a lane. */
struct hop {
    struct list wait; /* in lane->waiting */
    struct dest *dest;
    struct lane *lane;
    uint8_t tier, host;
};

struct hops {
    size_t n;
    struct hop hop[];
};

struct dest {
    struct map_link link;
    struct list due;  /* rcpt->link */
    struct list turn; /* in sched->ready, ->unresolved or ->idle */
    struct sched *sched;
    struct hops *hops;      /* NULL: not known */
    struct answer *verdict; /* of the look-up; NULL: none */
    struct mx_query *query;
    uint32_t expires; /* of hops or verdict */
    uint32_t idle_since;
    uint32_t nrcpt; /* recipients that lead here */
    uint16_t port;
    uint8_t kind;    /* enum route_kind */
    const char *why; /* of ROUTE_BAD */
    char host[];
};

struct sched {
    const struct conf *conf;
    struct self self;
    struct retry_rule rule;
    struct loop *loop;
    struct dns *dns;
    struct local *local;
    struct spool_store *store;
    struct spool_writer *writer;
    struct pool *messages, *rcpts, *blocks;
    struct map dests, lanes;
    struct calendar calendar;
    struct message *fresh;  /* found, not yet loaded */
    struct list ready;      /* dests with something to do now */
    struct list unresolved; /* dests that wait for a free query */
    struct list idle;       /* dests without recipients, oldest first */
    struct list opening;    /* lanes */
    unsigned resolving, open_sessions;
    struct lane *local_lane;
    struct worker *worker[SCHED_WORKERS_MAX + 1]; /* the last: mailboxes */
    unsigned nworkers;                            /* without it */
    struct list notices; /* jobs whose senders are owed something */
    uint64_t pending;    /* recipients to be tried, now or later */
    uint64_t jobs_out;
    uint64_t start_ms;
    bool stopping, dirty, finished_some, scan_now;
};

/* Seconds since the start plus one, monotonic; 0 is never a time. */
uint32_t sched_seconds(const struct sched *s);

/* intake.c */
int intake_scan(struct sched *s, struct err *e);
bool intake_has_fresh(const struct sched *s);
void rcpt_release(struct sched *s, struct rcpt *r);     /* mark it gone */
void message_sweep(struct sched *s, struct message *m); /* drop the gone */

/* dest.c */
/* For one more recipient; dest_forget() when that is over.  NULL: no memory. */
struct dest *dest_for(struct sched *s, struct span domain);
void dest_add(struct rcpt *r);                        /* it is due now */
void dest_kick(struct dest *d);                       /* has something to do */
void dest_forget(struct dest *d);                     /* one recipient less */
bool dest_uses(struct dest *d, const struct lane *l); /* in its tier now */
void dest_work(struct sched *s, struct dest *d);
void dest_detach(struct dest *d); /* out of all waiting lists */
void dest_flush(struct sched *s); /* forget bad news */
void dest_sweep(struct sched *s); /* free those long idle */
void dest_resolve_more(struct sched *s);
void dest_free_all(struct sched *s);

/* lane.c */
struct lane *lane_get(struct sched *s, const struct addr *peer,
                      const char *name); /* NULL: no memory */
void lane_put(struct sched *s, struct lane *l);
bool lane_is_up(const struct sched *s, const struct lane *l);
bool lane_has_room(const struct sched *s, const struct lane *l);
bool lane_is_open(const struct lane *l);
void lane_wait(struct sched *s, struct hop *h); /* for room, or a session */
int lane_give(struct sched *s, struct lane *l, struct job *j, struct err *e);
void lane_job_back(struct sched *s, struct lane *l);
void lane_ended(struct sched *s, struct lane *l);
void lane_flush(struct sched *s);
struct lane *lane_new_local(struct sched *s, struct worker *w);

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

/* bounce.c */
void bounce_flush(struct sched *s);
#endif
