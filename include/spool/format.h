/* spool/format.h - the queue on the disk: sizes, records, slots.
 *
 * docs/spool.md describes every byte and every crash state; this header is
 * its C side.  All numbers are little-endian.  Nothing depends on host name,
 * uid or pid, so a queue directory can be moved.
 *
 *   segment = header (4096 bytes), records, each at a multiple of 256
 *   record  = header (256), slots (256 each, one a recipient), envelope,
 *             body, late fields
 *
 * Envelope, body and late fields have a CRC-32C each, the header its own over
 * these; slots change in place and carry theirs.  Pure functions. */
#ifndef MTA_SPOOL_FORMAT_H
#define MTA_SPOOL_FORMAT_H

#include "base/addr.h"
#include "base/err.h"
#include "base/msg_id.h"
#include "smtp/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_VERSION = 3,
    SPOOL_SEGMENT_HEADER = 4096,
    SPOOL_RECORD_HEADER = 256,
    SPOOL_SLOT = 256,
    SPOOL_ALIGN = 256,
    SPOOL_SEGMENT_SIZE = 16 * 1024 * 1024,
    SPOOL_RCPT_MAX = 65535,
    SPOOL_LATE_MAX = 64 * 1024,
    SPOOL_MX_MAX = 64, /* octets of a host's name in a slot */
    SPOOL_REPLY_MAX = 120,
    SPOOL_PART_LEVELS = 4,
    SPOOL_PART_TEXT = 21 /* with NUL */
};

/* A queue directory holds two queues of one format; one bit of a segment's id
 * names its queue. */
enum spool_name {
    SPOOL_LOCAL,  /* mail with a recipient here */
    SPOOL_REMOTE, /* mail for other hosts */
    SPOOL_QUEUES
};
const char *spool_name_text(enum spool_name name);

struct spool_record {
    struct msg_id id;
    uint64_t part;    /* 0: what was accepted; see spool_part_child() */
    uint64_t segment; /* of its file, unlike that of older content */
    uint64_t arrival; /* wall clock, us */
    uint64_t length;  /* all of it, padding included */
    uint64_t body_size;
    uint32_t envelope_size;
    uint32_t late_size;  /* of the late fields */
    uint32_t front;      /* their first part: sent in front of the body */
    uint32_t generation; /* copies so far by reclaim; the highest wins */
    unsigned nrcpt : 17, flags : 15; /* SPOOL_8BIT ...; small, because each
                                      * queued message has one in memory */
    uint32_t envelope_crc, body_crc, late_crc;
};
enum { SPOOL_NRCPT_MASK = (1 << 17) - 1, SPOOL_FLAGS_MASK = (1 << 15) - 1 };
enum {
    SPOOL_8BIT = 1,
    SPOOL_UTF8 = 2,
    SPOOL_BOUNCE = 4,
    SPOOL_LARGE = 8,
    SPOOL_TORN = 16,        /* recovery found the content incomplete: skip it */
    SPOOL_UTF8_HEADER = 32, /* and SPOOL_UTF8: header fields in UTF-8 */
    SPOOL_SIGN = 64,        /* from a relay network, or made here: DKIM signs
                             * it, if there is a key for its domain */
    SPOOL_LATER = 128       /* first tried as if it had been deferred when it
                             * arrived: at a flush, or after send.retry_min */
};

enum spool_state {
    SPOOL_PENDING,
    SPOOL_DELIVERED,
    SPOOL_FAILED,   /* for good; its bounce is durable, or none is due */
    SPOOL_EXPANDED, /* replaced by a child: a record of the same id */
    SPOOL_HELD,     /* not tried; by an operator, or by the sender */
    SPOOL_DELETED   /* by an operator */
};

struct spool_slot {
    enum spool_state state;
    unsigned attempts; /* offered to a peer */
    unsigned rounds;   /* its turn came and no host could be offered it */
    uint64_t first_attempt, last_attempt; /* wall clock, us; 0: never */
    uint64_t next_attempt;                /* 0: now */
    struct smtp_status status;            /* of the last reply */
    bool warned;                          /* the sender got a delay notice */
    bool by_sender;    /* held until a fault of ours is repaired */
    unsigned waits;    /* for that, one after the other */
    struct addr tried; /* the last address and port; family 0: none */
    unsigned short tls_version, tls_cipher; /* as in TLS; 0: none */
    /* The host by name, and the start of its reply or our own reason; what is
     * longer than the slot ends in "..." there. */
    char mx[SPOOL_MX_MAX + 1], reply[SPOOL_REPLY_MAX + 2];
};

/* Records of one message share its id and differ in their part.  A child, which
 * replaces slots of its parent, has the parent's part * 65536 + the lowest of
 * these slots + 1.  -1 with ERR_PERM: the parent is of the fourth level. */
int spool_part_child(uint64_t *part, uint64_t parent, uint32_t lowest,
                     struct err *e);
uint64_t spool_part_parent(uint64_t part);
/* In decimal; NULL for part 0, which logs leave out. */
const char *spool_part_text(char out[SPOOL_PART_TEXT], uint64_t part);

/* Where the parts of a record begin, from the start of the record. */
uint64_t spool_slot_at(uint32_t index);
uint64_t spool_envelope_at(const struct spool_record *r);
uint64_t spool_body_at(const struct spool_record *r);
uint64_t spool_late_at(const struct spool_record *r);
/* What r->length has to be, by the sizes of its parts. */
uint64_t spool_record_length(const struct spool_record *r);
#endif
