/* send/destination.h - where mail for a domain goes: its look-up, its lanes in
 * tiers, and the recipients that are due.  For src/send alone. */
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

/* Domains met lately, and where they lead. */
enum { DEST_MEMOS = 256 };
struct dest_memo {
    struct dest *dest; /* NULL: empty */
    uint8_t n;
    char domain[55];
};

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

/* lookup.c, for dest.c: make hops or verdict known, now or later. */
void dest_look_up(struct sched *s, struct dest *d);
void dest_drop_hops(struct sched *s, struct dest *d);
#endif
