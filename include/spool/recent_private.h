/* spool/recent_private.h - envelopes of messages with many recipients, as read
 * last.
 *
 * For src/spool only.  Each host that such a message goes to needs the whole
 * envelope, for one address of it.  What is kept was verified; it is never out
 * of date, because no record is changed behind its slots, and no place of a
 * segment is used twice. */
#ifndef MTA_SPOOL_RECENT_PRIVATE_H
#define MTA_SPOOL_RECENT_PRIVATE_H

#include "base/span.h"
#include "spool/format.h"

enum { SPOOL_RECENT = 64, SPOOL_RECENT_MAX = 8192 /* octets of one */ };

struct spool_recent {
    unsigned next; /* to be replaced */
    struct {
        uint64_t segment, at; /* of the record */
        char *envelope;       /* NULL: free */
        size_t n;
    } kept[SPOOL_RECENT];
};

/* Is the message one that is worth it? */
bool spool_recent_fits(const struct spool_record *r);
/* n 0: it is not there. */
struct span spool_recent_find(const struct spool_recent *k, uint64_t segment,
                              uint64_t at);
/* Takes a copy; without memory there is none. */
void spool_recent_keep(struct spool_recent *k, uint64_t segment, uint64_t at,
                       struct span envelope);
void spool_recent_free(struct spool_recent *k);
#endif
