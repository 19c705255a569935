/* send/due.h - the due mail of a destination, by sender.  For src/send alone.
 *
 * Recipients of mail from one reverse-path are a group.  Groups take turns, a
 * message each, so a flood of one sender delays its own mail and no other's.
 * Recipients that came back untouched go before all groups, in their order.
 * All of it is O(1): an empty group leaves the line when its turn comes. */
#ifndef MTA_SEND_DUE_H
#define MTA_SEND_DUE_H

#include "base/list.h"
#include "base/map.h"
#include "queue/message.h"

#include <stdbool.h>
#include <stdint.h>

struct due;
struct pool;

/* Groups of all destinations, but for the one that each has anyway. */
struct due_groups {
    struct map all;
    struct pool *pool;
};

struct due_group {
    struct map_link link; /* by destination and sender */
    struct list turn;     /* in due->line */
    struct list rcpts;    /* rcpt->link */
    const struct due *due;
    uint32_t sender; /* message->sender */
};

struct due {
    struct list untouched;
    struct list line;      /* groups, the next one first */
    struct due_group only; /* of the one sender; and, when there are more
                            * senders than groups, of those without one */
    uint32_t n;            /* recipients */
    uint32_t ngroups;      /* in the line, but for `only` */
};

int due_groups_init(struct due_groups *g); /* -1: no memory */
void due_groups_done(struct due_groups *g);

void due_init(struct due *d);
static inline bool due_empty(const struct due *d)
{
    return d->n == 0;
}

/* At the end of its sender's mail; behind others that are untouched. */
void due_add(struct due_groups *g, struct due *d, struct rcpt *r);
void due_add_untouched(struct due *d, struct rcpt *r);
void due_add_front(struct due *d, struct rcpt *r); /* before all others */
void due_remove(struct due_groups *g, struct due *d, struct rcpt *r);

/* The first recipient, and with due_take_turn() its sender's turn is over;
 * there must be one. */
struct rcpt *due_first(struct due_groups *g, struct due *d);
struct rcpt *due_take_turn(struct due_groups *g, struct due *d);
#endif
