/* deliver/loop_guard.h - has the text come through that alias before?  For
 * src/deliver alone. */
#ifndef MTA_DELIVER_LOOP_GUARD_H
#define MTA_DELIVER_LOOP_GUARD_H

#include "deliver/work.h"

/* Does a Delivered-To field of the header, front fields included, name the
 * address?  1, 0; -1 with *e: it cannot be read. */
int loop_guard_has(struct work *w, const char *address, struct err *e);
#endif
