/* deliver/expand.h - to which targets recipients lead.  For src/deliver alone.
 *
 * A recipient that is one mailbox, by itself or by an alias, needs no child: it
 * is resolved again at each try.  All others of a message that can be resolved
 * now are replaced in one step, a child for each reverse-path, in which no
 * target is twice; a recipient whose one mailbox is among these targets joins
 * the step, and recipients that are the same mailbox make one. */
#ifndef MTA_DELIVER_EXPAND_H
#define MTA_DELIVER_EXPAND_H

#include "deliver/work.h"

/* Settle the fate of each item.  Items that are replaced belong to the queue
 * now, their rcpt and with the last one the message must not be touched behind
 * the next queue_flush().  False: the user helper is asked first; the work is
 * of no more use. */
bool expand(struct work *w);
#endif
