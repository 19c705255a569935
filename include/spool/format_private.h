/* spool/format_private.h - from the structs of format.h to bytes and back.
 *
 * For src/spool only; docs/spool.md describes every byte.  Pure functions. */
#ifndef MTA_SPOOL_FORMAT_PRIVATE_H
#define MTA_SPOOL_FORMAT_PRIVATE_H

#include "spool/format.h"

struct spool_segment_header {
    uint64_t id;        /* the base of the message ids born here; file name */
    uint64_t created;   /* wall clock, us */
    uint32_t version;   /* as read */
    uint64_t committed; /* bytes that are synced, this header included */
    bool closed;        /* its writer has closed it */
    bool moved;         /* a record in it was moved here by reclaim */
    bool damaged;       /* recovery found damaged bytes */
};
/* Offset and size of the part of the header that changes. */
enum { SPOOL_STATE_AT = 64, SPOOL_STATE = 16 };

void spool_segment_header_encode(unsigned char out[SPOOL_SEGMENT_HEADER],
                                 const struct spool_segment_header *h);
void spool_state_encode(unsigned char out[SPOOL_STATE],
                        const struct spool_segment_header *h);
enum spool_check {
    SPOOL_GOOD,
    SPOOL_STATELESS, /* id and created are good, the rest is torn */
    SPOOL_OTHER,     /* of another version of the format */
    SPOOL_BROKEN
};
/* `in` need hold only the first SPOOL_STATE_AT + SPOOL_STATE bytes. */
enum spool_check spool_segment_header_decode(struct spool_segment_header *h,
                                             const unsigned char *in);

void spool_record_encode(unsigned char out[SPOOL_RECORD_HEADER],
                         const struct spool_record *r);
/* False: not the header of a record (magic, version, sizes, own checksum). */
bool spool_record_decode(struct spool_record *r, const unsigned char *in);

/* The checksum covers the index, so that a slot in a wrong place is invalid. */
void spool_slot_encode(unsigned char out[SPOOL_SLOT], uint32_t index,
                       const struct spool_slot *s);
/* A slot that is torn or was never written reads as pending, never tried. */
void spool_slot_decode(struct spool_slot *s, uint32_t index,
                       const unsigned char *in);
#endif
