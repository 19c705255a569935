/* send/destination.h - where mail for a domain goes: its look-up, its lanes in
 * ranks, and the recipients that are due.  For src/send alone. */
#ifndef MTA_SEND_DESTINATION_H
#define MTA_SEND_DESTINATION_H

#include "dns/mx.h"
#include "queue/message.h"
#include "send/lane.h"
#include "send/route.h"

struct hops {
    size_t n;
    struct hop hop[];
};

struct destination {
    struct map_link link;
    struct list due;  /* rcpt->link */
    struct list turn; /* in sched->ready, ->unresolved or ->idle */
    struct sched *sched;
    struct hops *hops;      /* NULL: not known */
    struct answer *outcome; /* of the look-up; NULL: none */
    struct mx_query *query;
    uint32_t expires; /* of hops or outcome */
    uint32_t idle_since;
    uint32_t nrcpt; /* recipients that lead here */
    uint16_t port;
    uint8_t kind;    /* enum route_kind */
    const char *why; /* of ROUTE_BAD */
    char host[];
};

/* Domains met lately, and where they lead. */
enum { DESTINATION_MEMOS = 256 };
struct destination_memo {
    struct destination *destination; /* NULL: empty */
    uint8_t n;
    char domain[55];
};

/* For one more recipient; destination_release() when that is over.  NULL: no
 * memory. */
struct destination *destination_for(struct sched *s, struct span domain);
void destination_add(struct rcpt *r);            /* it is due now */
void destination_ready(struct destination *d);   /* has something to do */
void destination_release(struct destination *d); /* one recipient less */
bool destination_uses(struct destination *d,
                      const struct lane *l); /* in its rank now */
void destination_work(struct sched *s, struct destination *d);
void destination_detach(struct destination *d); /* out of all waiting lists */
void destination_flush(struct sched *s);        /* forget bad news */
void destination_sweep(struct sched *s);        /* free those long idle */
void destination_free_all(struct sched *s);
#endif
