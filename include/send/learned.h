/* send/learned.h - what hosts' sessions have shown of their limits, by peer
 * address, for 24 hours.  Not for threads.
 *
 * Bounded: the host that was longest not used makes room for a new one.  What
 * is forgotten, for whatever reason, costs a host one more lesson and no mail
 * anything. */
#ifndef MTA_SEND_LEARNED_H
#define MTA_SEND_LEARNED_H

#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "send/limits.h"

#include <stdint.h>

enum { LEARNED_HOSTS_MAX = 10000, LEARNED_SECONDS = 24 * 3600 };

struct learned {
    struct map all;
    struct list used; /* the last one used at the end */
    size_t n;
};

int learned_init(struct learned *l); /* -1: no memory */
void learned_done(struct learned *l);

/* What is known of the peer; nothing: all zero.  now: seconds. */
struct send_limits learned_get(struct learned *l, const struct addr *peer,
                               uint32_t now);

/* A session of the peer ended with these: keeps what is new for 24 hours from
 * now. */
void learned_put(struct learned *l, const struct addr *peer,
                 const struct send_limits *limits, uint32_t now);
#endif
