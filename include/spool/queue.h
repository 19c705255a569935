/* spool/queue.h - the consumer's view of a whole queue.
 *
 * One process per queue (flock on its `lock`) may open it: it alone
 * writes slots, removes segments and moves survivors.  Not for threads. */
#ifndef MTA_SPOOL_QUEUE_H
#define MTA_SPOOL_QUEUE_H

#include "spool/message.h"

/* Recovers segments without a writer: drops torn tails, removes leftovers.
 * ERR_TEMP with sys EWOULDBLOCK: another process holds the lock.  ERR_PERM:
 * there is a segment of another format. */
int spool_queue_open(struct spool_queue **q, const char *queue_dir,
                     enum spool_name name, struct err *e);
void spool_queue_close(struct spool_queue **q); /* syncs slots first */

/* The descriptor that becomes readable when a writer committed; call
 * spool_queue_scan() then, and at start, and every few seconds. */
int spool_queue_wake_fd(const struct spool_queue *q);

/* For each record that is new since the last scan and has a recipient that
 * is pending or held: found() gets it and returns the struct that will
 * represent it, or NULL when memory is out (the scan ends with 1, and a
 * later one goes on with this record).  Older generations of a record, by id
 * and part, never show.  found() calls nothing of the queue but
 * spool_reader_*, which costs little now.  -1: a segment cannot be read; all
 * others were read. */
typedef struct spool_message *spool_found_fn(void *ctx,
                                             const struct spool_reader *v);
int spool_queue_scan(struct spool_queue *q, spool_found_fn *found, void *ctx,
                     struct err *e);

struct spool_usage {
    uint64_t segments, disk_bytes, live_bytes, messages;
    uint64_t damaged; /* damaged segments, with those named .bad */
};
void spool_queue_usage(const struct spool_queue *q, struct spool_usage *u);
#endif
