/* send/sched.h - the state of the sender's main thread, which its parts share.
 * For src/send alone.
 *
 *   destination      due mail of a destination; destination_dns: its hosts
 *   due              due mail of a destination, by sender, in turns
 *   lookup_turns     which destination is looked up next
 *   lane             a peer: its session, its window of deliveries, its lines
 *   lane_state       shut, on trial, paused
 *   learned          limits of hosts
 *   pace             how much mail they take; pace_signs, pace_rate, pace_file
 *   parked           mail that waits for a shut host
 *   next_mx          a recipient that one host puts off goes to the next
 *   assign           a turn's work: which due mail goes to which lane
 *   dispatch         message and recipients -> delivery
 *   signing          DKIM, before a delivery gets to its lane's session
 *
 * The queue (queue/queue.h) stands below: it reads messages from the disk,
 * reports recipients that are due, and takes the results. */
#ifndef MTA_SEND_SCHED_H
#define MTA_SEND_SCHED_H

#include "base/map.h"
#include "config/conf.h"
#include "dns/hosts.h"
#include "net/loop.h"
#include "queue/queue.h"
#include "recipient/resolve.h"
#include "send/destination.h"
#include "send/learned.h"
#include "send/lookup_turns.h"
#include "send/mx_ranks.h"
#include "send/worker.h"

enum {
    SCHED_WORKERS_MAX = 64,
    SCHED_SESSIONS_MAX = 640 /* with DNS and the queue below FD_SETSIZE */
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
    struct loop *loop;
    struct queue queue;
    struct dns *dns;
    struct dns_hosts hosts; /* for next hops that are settings */
    struct local *local;
    struct logins *logins; /* NULL: there are none */
    struct send_worker *worker[SCHED_WORKERS_MAX];
    unsigned nworkers;
    bool by_sender; /* routes look at the sender */
    bool stopping;

    struct { /* destination.c, destination_dns.c */
        struct map all;
        struct destination_memo memo[DESTINATION_MEMOS];
        struct lookup_turns lookups;
        struct loop_timer slow; /* a look-up may have to give way */
        struct due_groups groups;
        struct list idle; /* without recipients, oldest first */
    } destination;
    struct { /* lane.c */
        struct map all;
        struct list opening; /* wait for a descriptor */
        struct list pausing; /* paused, and not shut */
        struct learned learned;
        unsigned unused; /* kept for what they know of their host */
        unsigned sessions;
        uint64_t deliveries; /* given to workers and not back */
        struct list given;   /* the same in a list, the oldest first */
    } lane;
    struct { /* pace.c */
        struct map all;
        struct list known; /* the same in a list */
        struct list busy;  /* those for which lanes wait */
        struct loop_timer save;
        int dir_fd; /* run/ */
        bool changed;
    } pace;
    struct {                /* next_mx.c */
        struct list failed; /* were not offered to a second host */
        unsigned n;         /* first answers that are kept */
    } next_mx;
    struct { /* ready.c */
        struct list destinations, lanes;
    } ready;
    struct signing *signing; /* NULL: nothing is signed */
    struct {                 /* explain.c */
        uint64_t wall_ahead; /* us, of the wall clock before the loop's */
    } explain;
};

/* Seconds since the start plus one, monotonic; 0 is never a time. */
static inline uint32_t sched_seconds(const struct sched *s)
{
    return queue_seconds(&s->queue);
}

/* No peer, pace or name is avoided for what it did before. */
void sched_forget_faults(struct sched *s);

/* Everything but the workers.  On failure too, the caller calls
 * sched_close(). */
int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e);
void sched_close(struct sched *s);
#endif
