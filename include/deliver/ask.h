/* deliver/ask.h - what the sender asked for (RFC 3461), for recipients that a
 * child replaces (5.2.7).  For src/deliver/step.c.
 *
 * A list with an owner is the end of a message: it is reported as delivered,
 * and nothing goes along.  An alias of one recipient passes everything on.  An
 * alias of several passes everything on but SUCCESS, and is reported as
 * expanded. */
#ifndef MTA_DELIVER_ASK_H
#define MTA_DELIVER_ASK_H

#include "deliver/work.h"

/* The reverse-path of the list that an item is; NULL: that of the message. */
const char *ask_owner(const struct work *w, const struct work_item *i);

/* Bits of NOTIFY for each target of the item. */
unsigned ask_notify(const struct work_item *i);

/* The item joins this target, which another one brought. */
void ask_join(const struct work *w, struct work_target *same,
              const struct work_item *i);

/* Set i->notice.  first: the first target that the item joined; NULL: none. */
void ask_choose_notice(const struct work *w, struct work_item *i,
                       const struct work_target *first);

/* For the envelope of the child; NULL: as the item has it. */
const char *ask_orcpt_for(struct work *w, const struct work_item *i,
                          const struct work_target *t);
const char *ask_notify_for(const struct work *w, const struct work_item *i,
                           const struct work_target *t);
#endif
