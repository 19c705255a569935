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
    uint32_t children;  /* SPOOL_CHILDREN_OF(); 0: it can hold none */
    uint64_t committed; /* bytes that are synced, this header included */
    bool closed;        /* its writer has closed it */
    bool moved;         /* a record in it was moved here by reclaim */
    bool damaged;       /* recovery found damaged bytes */
    bool unsynced;      /* a sync by its writer failed: slots that were written
                         * before may be lost, whatever a later sync says */
};
/* The queue whose children a segment may hold: said at its birth, synced before
 * its first record. */
#define SPOOL_CHILDREN_OF(name) ((uint32_t)(name) + 1)

/* Offset and size of the parts of the header that change, each in a sector of
 * its own: the state, by the writer and by recovery; the confirmed word, by the
 * holder of the parents' queue alone. */
enum { SPOOL_STATE_AT = 64, SPOOL_STATE = 16 };
enum { SPOOL_CONFIRMED_AT = 512, SPOOL_CONFIRMED = 12 };

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
/* Each child before `confirmed` has its parent's marks on the disk. */
void spool_confirmed_encode(unsigned char out[SPOOL_CONFIRMED], uint64_t id,
                            uint64_t confirmed);
/* 0: never written, or unreadable. */
uint64_t spool_confirmed_decode(const unsigned char *in, uint64_t id);
/* `in` need hold only the first SPOOL_STATE_AT + SPOOL_STATE bytes. */
enum spool_check spool_segment_header_decode(struct spool_segment_header *h,
                                             const unsigned char *in);

/* Was it handed over, and is it no later copy? */
bool spool_record_is_child(const struct spool_record *r);
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
