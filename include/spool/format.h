/* spool/format.h - the queue on the disk: sizes, records, slots.
 *
 * docs/spool.md describes every byte and every crash state; this header is
 * its C side.  All numbers are little-endian.  Nothing depends on host name,
 * uid or pid, so a queue directory can be moved.
 *
 *   segment = header (4096 bytes), records, each at a multiple of 128
 *   record  = header (128), slots (128 each, one a recipient), envelope, body
 *
 * The checksum of a record covers envelope, body and header; slots change in
 * place and carry their own.  Pure functions. */
#ifndef MTA_SPOOL_FORMAT_H
#define MTA_SPOOL_FORMAT_H

#include "base/msg_id.h"
#include "smtp/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_VERSION = 1,
    SPOOL_SEGMENT_HEADER = 4096,
    SPOOL_RECORD_HEADER = 128,
    SPOOL_SLOT = 128,
    SPOOL_ALIGN = 128,
    SPOOL_SEGMENT_SIZE = 16 * 1024 * 1024,
    SPOOL_RCPT_MAX = 65535,
    SPOOL_SLOT_TEXT = 88 /* host NUL reply, cut to fit */
};

struct spool_record {
    struct msg_id id;
    uint64_t segment; /* in which it stands: tells it from what a recycled
                            file held before */
    uint64_t arrival; /* wall clock, us */
    uint64_t length;  /* all of it, padding included */
    uint64_t body_size;
    uint32_t envelope_size, nrcpt;
    uint32_t generation; /* copies so far by reclaim; the highest wins */
    uint32_t flags;      /* SPOOL_8BIT ... */
    uint32_t crc;        /* of envelope, body, and the header before it */
};
enum {
    SPOOL_8BIT = 1,
    SPOOL_UTF8 = 2,
    SPOOL_BOUNCE = 4,
    SPOOL_LARGE = 8,
    SPOOL_TORN = 16 /* recovery found the content incomplete: skip it */
};

enum spool_state {
    SPOOL_PENDING,
    SPOOL_DELIVERED,
    SPOOL_FAILED, /* for good; its bounce is durable, or none is owed */
    SPOOL_HELD,   /* by a person; not tried */
    SPOOL_DELETED /* by a person */
};

struct spool_slot {
    enum spool_state state;
    unsigned attempts;
    uint64_t last_attempt, next_attempt; /* wall clock, us; 0: never, now */
    struct smtp_status status;           /* of the last reply */
    bool warned;                         /* the sender got a delay notice */
    /* who answered, name or address; the start of what it said, or why we
     * did not ask */
    char host[SPOOL_SLOT_TEXT + 1], reply[SPOOL_SLOT_TEXT + 1];
};

/* Where the parts of a record begin, from the start of the record. */
uint64_t spool_slot_at(uint32_t index);
uint64_t spool_envelope_at(const struct spool_record *r);
uint64_t spool_body_at(const struct spool_record *r);
uint64_t spool_record_length(uint32_t nrcpt, uint32_t envelope_size,
                             uint64_t body_size);
#endif
