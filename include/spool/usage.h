/* spool/usage.h - how much of the disk a queue takes, for tools. */
#ifndef MTA_SPOOL_USAGE_H
#define MTA_SPOOL_USAGE_H

#include "base/err.h"
#include "spool/format.h"

/* Segments of all kinds and what they take, holes not counted.  0, or -1 with
 * *e. */
int spool_disk_use(const char *queue_dir, enum spool_name name,
                   uint64_t *segments, uint64_t *bytes, struct err *e);
#endif
