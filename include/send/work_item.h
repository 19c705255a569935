/* send/work_item.h - what passes between the main thread and a worker:
 * deliveries, and sessions to open.  For src/send alone. */
#ifndef MTA_SEND_WORK_ITEM_H
#define MTA_SEND_WORK_ITEM_H

#include "queue/delivery.h"
#include "send/given.h"

/* WORK_LEAVE: the session of the item is to QUIT when its deliveries are done;
 * it comes back, whether before the session's end or behind it. */
enum work_kind { WORK_DELIVERY, WORK_OPEN, WORK_ENDED, WORK_LEAVE };

struct work_item {
    struct list link;
    enum work_kind kind;
};

struct lane;
struct shut_log;
struct send_session;

/* A delivery as dispatch.c makes it. */
struct send_delivery {
    struct delivery delivery; /* the first member: delivery_free() frees all */
    struct work_item note;
    struct lane *lane; /* NULL: answered without a peer */
    bool again;        /* to the next MX: with put_off, else not */
    struct list put_off;
    struct shut_log *shut; /* a round, of mail that is parked */
    struct send_session *session;
    unsigned serial;             /* of that session at its lane */
    struct signature *signature; /* signing.c; NULL: none */
    bool configured;             /* the next hop is a setting */
    bool lmtp;                   /* it speaks LMTP */
    struct given given;          /* of the main thread */
    unsigned line;               /* of so many that were out then, the last */
};

static inline struct send_delivery *send_delivery_of(struct delivery *j)
{
    return LIST_ENTRY(j, struct send_delivery, delivery);
}

static inline struct delivery *delivery_of_note(struct work_item *n)
{
    return &LIST_ENTRY(n, struct send_delivery, note)->delivery;
}
#endif
