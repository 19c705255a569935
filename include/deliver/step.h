/* deliver/step.h - replace recipients of a message by children.  For
 * src/deliver alone. */
#ifndef MTA_DELIVER_STEP_H
#define MTA_DELIVER_STEP_H

#include "deliver/work.h"

/* Hand over the items with the fate WORK_REPLACED, and others whose mailbox is
 * a target of them, or is the same for two. */
void step(struct work *w);
#endif
