/* spool/segments.h - the inside of the store: its segments and their files.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_SEGMENTS_H
#define MTA_SPOOL_SEGMENTS_H

#include "base/map.h"
#include "spool/queue.h"
#include "spool/records.h"
#include "spool/segment.h"

enum { SPOOL_OPEN_FILES = 64 };

/* Records that reclaim wrote itself: the scan passes by. */
struct spool_range {
    struct spool_range *next;
    uint64_t from, to;
};

struct spool_segment {
    struct map_link by_id;
    struct list link;   /* all */
    struct list active; /* those in which more may be found */
    struct list open;   /* those with a descriptor, the oldest use first */
    struct list dirty;  /* those with marks that are not synced */
    struct list items;
    struct spool_range *own;
    uint64_t id, size; /* of the file */
    uint64_t scanned, end;
    uint64_t live_bytes;
    uint32_t live, pins;
    int fd;
    bool closed;  /* its writer has left, in order or not */
    bool copies;  /* some record has a generation */
    bool damaged; /* goes to .bad instead of away */
    bool solo;
    bool stuck; /* reclaim failed, or the format is newer: leave it */
    bool gone;  /* the file is unlinked; only pins keep this */
};

/* The best copy of each id that has one, to know older ones by. */
struct spool_copies {
    struct map map; /* no buckets: not in use */
    uint64_t n;
};

struct spool_store {
    char dir[SPOOL_DIR];
    int lock_fd, wake_fd;
    struct map by_id;
    struct list all, active, open, dirty;
    size_t nopen;
    uint64_t nsegments, messages, disk_bytes, live_bytes, nbad;
    uint64_t look_ms;    /* when the directory was read last */
    bool look;           /* read it at the next scan */
    bool dir_dirty;      /* an entry went and that is not synced */
    bool noted;          /* copies were looked for */
    bool settled;        /* what was there at the start has been shown */
    struct list arrived; /* new ones of the directory, not yet in order */
    size_t narrived;
    struct spool_copies copies;
    struct spool_walk walk;
    struct spool_walk ahead; /* what was read of items' envelopes */
};

struct spool_segment *spool_shelf_find(struct spool_store *s, uint64_t id);
/* Found or made; NULL: no memory. */
struct spool_segment *spool_shelf_add(struct spool_store *s, uint64_t id);
/* Its descriptor; -1 with *e. */
int spool_shelf_fd(struct spool_store *s, struct spool_segment *g,
                   struct err *e);
/* The file goes if nothing can need it any more. */
void spool_shelf_settle(struct spool_store *s, struct spool_segment *g);
/* Forget it, leave the file alone. */
void spool_shelf_forget(struct spool_store *s, struct spool_segment *g);
/* Was it an empty segment that went with its writer?  Then it is forgotten. */
bool spool_shelf_vanished(struct spool_store *s, struct spool_segment *g,
                          const struct err *why);
int spool_shelf_sync_dir(struct spool_store *s, struct err *e);
void spool_shelf_resize(struct spool_store *s, struct spool_segment *g,
                        uint64_t size);

/* Read the directory; find out which segments have a writer, recover the
 * others.  strict: a segment of a newer format is an error. */
int spool_survey(struct spool_store *s, bool strict, struct err *e);
/* How far may the segment be read now?  probe: also ask for its lock. */
int spool_refresh(struct spool_store *s, struct spool_segment *g, bool probe,
                  struct err *e);

void spool_item_place(struct spool_store *s, struct spool_segment *g,
                      struct spool_item *it, uint64_t at);
void spool_item_remove(struct spool_store *s, struct spool_item *it);

/* Note the copy of an id at its place; false: no memory. */
bool spool_copies_note(struct spool_copies *c, const struct spool_record *r,
                       uint64_t at);
/* Is there a better copy than this one? */
bool spool_copies_beat(const struct spool_copies *c,
                       const struct spool_record *r, uint64_t at);
void spool_copies_free(struct spool_copies *c);
#endif
