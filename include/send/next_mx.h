/* send/next_mx.h - a recipient that one MX host puts off is offered to the next
 * one, once and at once.  For src/send alone.
 *
 * What the second host replies is the attempt.  The first reply is kept until
 * then, and is the attempt if the recipient is not offered there. */
#ifndef MTA_SEND_NEXT_MX_H
#define MTA_SEND_NEXT_MX_H

#include "send/sched.h"

/* In hop->apart, then with the delivery to that hop. */
struct put_off {
    struct list link;
    struct rcpt *rcpt;
    struct answer answer; /* of the first host, */
    struct addr peer;     /* which is */
    char host[DELIVERY_HOST_MAX], address[ADDR_PORT_TEXT];
    char sid[SESSION_ID_TEXT];
};

/* Line it up at the next host.  False: there is none that takes mail now, or
 * too many wait so. */
bool next_mx_try(struct sched *s, struct delivery *j,
                 const struct delivery_rcpt *r);

/* Forget the first answers of those that have another, or all. */
void next_mx_answered(struct sched *s, struct delivery *j);
void next_mx_forget(struct sched *s, struct list *put_off);

/* It came back from the second host without an answer. */
void next_mx_back(struct sched *s, struct delivery *j, struct rcpt *r,
                  bool untouched);

/* None that waits at the hop is offered there. */
void next_mx_give_up(struct sched *s, struct hop *h);

/* Apply the first answers of those that were not offered a second time. */
void next_mx_settle(struct sched *s);
#endif
