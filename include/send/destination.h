/* send/destination.h - where mail for a domain goes: its DNS look-up, its lanes
 * by rank, and the recipients that are due. For src/send alone. */
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
    uint32_t nrcpt; /* recipients of this destination */
    uint16_t port;
    uint8_t kind;    /* enum route_kind */
    const char *why; /* of ROUTE_BAD */
    char host[];
};

/* Cache of recent domains and their destinations. */
enum { DESTINATION_MEMOS = 256 };
struct destination_memo {
    struct destination *destination; /* NULL: empty */
    uint8_t n;
    char domain[55];
};

/* Find or make the destination of one more recipient; destination_release()
 * drops it. NULL: no memory. */
struct destination *destination_for(struct sched *s, struct span domain);
void destination_add(struct rcpt *r);            /* it is due now */
void destination_ready(struct destination *d);   /* put it on the ready list */
void destination_release(struct destination *d); /* drop one reference */
bool destination_uses(struct destination *d,
                      const struct lane *l); /* in its rank now */
void destination_work(struct sched *s, struct destination *d);
void destination_detach(struct destination *d); /* out of all waiting lists */
void destination_flush(struct sched *s);        /* forget failed look-ups */
void destination_sweep(struct sched *s);        /* free those long idle */
void destination_free_all(struct sched *s);
#endif
