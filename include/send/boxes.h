/* send/boxes.h - local recipients in the queue: a retry, or a bounce to a local
 * user.  Runs in a worker of its own, so that its syncs delay no session. */
#ifndef MTA_SEND_BOXES_H
#define MTA_SEND_BOXES_H

#include "config/conf.h"
#include "send/work_item.h"

struct boxes;
struct local;

int boxes_open(struct boxes **b, const struct conf *c, struct err *e);
/* Other aliases and users, owned by b from now on. */
void boxes_set_local(struct boxes *b, struct local *l);
void boxes_close(struct boxes **b); /* accepts NULL; leaves NULL */

/* Deliver all recipients of these deliveries (struct work_item in a list); the
 * results stand in them afterwards.  One sync for all. */
void boxes_deliver(struct boxes *b, struct list *deliveries);
#endif
