/* queue/select.h - which recipients of a queue a command is for. */
#ifndef MTA_QUEUE_SELECT_H
#define MTA_QUEUE_SELECT_H

#include "base/err.h"
#include "base/msg_id.h"
#include "base/span.h"

#include <stdbool.h>

enum { QUEUE_SELECT_IDS = 24 };

/* What is set must hold; nothing set: all.  The texts are the caller's. */
struct queue_select {
    unsigned nids; /* only parts of these messages; 0: of any */
    struct msg_id id[QUEUE_SELECT_IDS];
    /* Of a recipient: "example.com", or ".example.com" for those below it; of
     * the reverse-path: an address, "@example.com" for all of a domain, "<>"
     * for the null reverse-path.  n 0: any. */
    struct span domain, sender;
};

/* Does the choice look at the envelope? */
static inline bool queue_select_reads(const struct queue_select *s)
{
    return s->domain.n > 0 || s->sender.n > 0;
}

bool queue_select_id(const struct queue_select *s, struct msg_id id);
bool queue_select_sender(const struct queue_select *s, struct span path);
bool queue_select_address(const struct queue_select *s, struct span address);

/* Behind the last "@"; n 0: there is none. */
struct span queue_domain_of(struct span address);
#endif
