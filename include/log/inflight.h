/* log/inflight.h - the batch received from the queue and not yet in the file.
 * For src/log alone.
 *
 * msgrcv() removes a message from the queue, and a collector that is killed
 * before its write() would lose it.  So messages are received into a SysV
 * shared memory segment, which has the key and the lifetime of the queue.  The
 * next collector finds the batch there, and computes from `at` and the file
 * itself how much of it was written.
 *
 * A mapped file would not do: a page may have to be allocated when it is
 * written again, and on a full or failing disk that fails inside msgrcv(),
 * after the message has left the queue. */
#ifndef MTA_LOG_INFLIGHT_H
#define MTA_LOG_INFLIGHT_H

#include "log/msgqueue.h"

#include <stdbool.h>
#include <stdint.h>

enum { INFLIGHT_SLOTS = 32, INFLIGHT_MAX = INFLIGHT_SLOTS * LOG_MESSAGE_MAX };

/* The slots in use come first; in the first unused one length is 0 (or no
 * length at all, when it is that of a wake-up).  Their texts, one behind the
 * other, are the batch. */
struct inflight_page {
    uint32_t version;
    uint32_t placed;       /* the fields below are valid */
    uint64_t dev, ino, at; /* a file, and its size before batch + skip */
    uint64_t skip;         /* length of the batch that is written elsewhere */
    struct log_message slot[INFLIGHT_SLOTS];
};

struct inflight {
    struct inflight_page *page;
    int id; /* -1: plain memory, lost by a kill */
};

/* Attach the segment, or make an empty one.  Without shared memory: plain
 * memory.  0, or -1 with *e: neither. */
int inflight_open(struct inflight *p, const struct msgqueue *q, struct err *e);
void inflight_close(struct inflight *p, bool forget);

/* Copy the batch to out[INFLIGHT_MAX]; returns its length. */
size_t inflight_batch(const struct inflight *p, char *out);

/* Set the place: the batch begins (from skip on) at the end of that file. */
void inflight_place(struct inflight *p, uint64_t dev, uint64_t ino,
                    uint64_t at);

/* The first n bytes are written; the rest has no place yet. */
void inflight_skip(struct inflight *p, size_t n);

/* The whole batch is written. */
void inflight_clear(struct inflight *p);
#endif
