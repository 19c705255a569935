/* log/inflight.h - lines taken from the queue that are not yet in the file.
 * For src/log alone.
 *
 * msgrcv() takes a message away for good, and a collector that is killed
 * before its write() would lose it.  So messages are received straight into
 * a SysV shared memory segment, which lives as long as the queue does and has
 * its key; the next collector finds there what the dead one had taken, and
 * from `at` and the file itself how much of it was written.
 *
 * Why no file: a page of a mapped file may have to be allocated when it is
 * written again, and on a full or broken disk that fails inside msgrcv(),
 * when the message has left the queue. */
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
    uint64_t skip;         /* so much of the batch is elsewhere, and complete */
    struct log_message slot[INFLIGHT_SLOTS];
};

struct inflight {
    struct inflight_page *page;
    int id; /* -1: plain memory; a kill may lose what was taken */
};

/* Found, or made empty.  Without shared memory: plain memory.  0, or -1
 * with *e: none of either. */
int inflight_open(struct inflight *p, const struct msgqueue *q, struct err *e);
void inflight_close(struct inflight *p, bool forget);

/* Copy the batch to out[INFLIGHT_MAX]; returns its length. */
size_t inflight_batch(const struct inflight *p, char *out);

/* The batch begins (from skip on) at the end of that file. */
void inflight_place(struct inflight *p, uint64_t dev, uint64_t ino,
                    uint64_t at);

/* So much of it is done; the rest is not placed. */
void inflight_skip(struct inflight *p, size_t n);

/* All is written. */
void inflight_clear(struct inflight *p);
#endif
