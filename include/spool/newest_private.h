/* spool/newest_private.h - the newest copy of each record that was moved,
 * by id and part.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_NEWEST_PRIVATE_H
#define MTA_SPOOL_NEWEST_PRIVATE_H

#include "base/map.h"
#include "spool/format.h"

struct spool_newest {
    struct map map; /* no buckets: not in use */
    uint64_t n;
};

/* Is r, at its place, older than the copy a, of the same id and part? */
bool spool_newest_is_better(const struct spool_record *a, uint64_t a_at,
                            const struct spool_record *r, uint64_t at);

/* Note a moved record at its place; false: no memory. */
bool spool_newest_note(struct spool_newest *c, const struct spool_record *r,
                       uint64_t at);
/* Is there a newer record than this one?  In *where: its segment. */
bool spool_newest_beats(const struct spool_newest *c,
                        const struct spool_record *r, uint64_t at,
                        uint64_t *where);
void spool_newest_free(struct spool_newest *c);
#endif
