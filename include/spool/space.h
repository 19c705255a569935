/* spool/space.h - free space on the disk of the queue.
 *
 * docs/spool.md, "The disk".  Functions return 0, or -1 with *e. */
#ifndef MTA_SPOOL_SPACE_H
#define MTA_SPOOL_SPACE_H

#include "base/err.h"

#include <stdint.h>

struct spool_writer;

/* The size of a new segment on a disk with so many bytes free: a sixteenth of
 * them, but at least 1 MiB and at most `max`. */
uint64_t spool_space_segment(uint64_t free_bytes, uint64_t max);

/* Bytes free now, for the next segment; UINT64_MAX: not known. */
uint64_t spool_space_free(struct spool_writer *w);

/* Is there room for a message of that size (free space and free inodes, with
 * a reserve)?  ENOSPC in e->sys: no; the text has what is free and what is
 * needed.  Cheap: asks the system once a second. */
int spool_space_has(struct spool_writer *w, uint64_t size, struct err *e);

/* Check the disk that the queue is on, or will be.  -1: *e is a warning for the
 * operator.  0: none, or unknown. */
int spool_space_warn(const char *queue_dir, struct err *e);
#endif
