/* spool/store_state.h - the inside of the store, for its own files alone. */
#ifndef MTA_SPOOL_STORE_STATE_H
#define MTA_SPOOL_STORE_STATE_H

#include "base/map.h"
#include "spool/scan.h"
#include "spool/segment.h"
#include "spool/store.h"

enum { STORE_OPEN_FILES = 64 };

struct spool_segment {
    struct map_link by_id;
    struct list link;  /* all segments */
    struct list used;  /* those with a descriptor, least recently used first */
    struct list dirty; /* those with slots not synced yet */
    struct list items;
    uint64_t id;
    uint64_t scanned, end; /* records known so far; where they end now */
    uint64_t live_bytes, disk_bytes;
    uint32_t live_items, pins;
    int fd;
    bool closed;  /* its writer has left */
    bool damaged; /* never removed: renamed to .bad when nothing is live */
    bool seen;    /* by the directory scan under way */
};

/* A record that reclaim has copied: which generation counts, and the item
 * that moved with it (NULL: from before our start). */
struct moved {
    struct map_link link;
    struct msg_id id;
    uint32_t generation;
    bool placed; /* our own copy: the scan that meets it passes by */
};

struct spool_store {
    char dir[SPOOL_DIR_MAX];
    int lock_fd, wake_fd;
    struct map segments, moved;
    struct list all, used, dirty;
    size_t nopen;
    bool rescan;        /* the directory */
    uint64_t rescan_at; /* ms */
    uint64_t messages;
    struct scan scan;
};

struct spool_segment *store_segment(struct spool_store *s, uint64_t id,
                                    struct err *e); /* made if unknown */
/* Its descriptor, opened if it is not.  -1 with *e. */
int store_fd(struct spool_store *s, struct spool_segment *g, struct err *e);
/* Nothing live, nobody reads it, its writer gone: the file goes. */
void store_drop_if_dead(struct spool_store *s, struct spool_segment *g);
void store_place_item(struct spool_segment *g, struct spool_item *it,
                      const struct spool_record *r, uint64_t at);
void store_displace_item(struct spool_item *it);

struct moved *store_find_moved(struct spool_store *s, struct msg_id id);
struct moved *store_note_moved(struct spool_store *s, struct msg_id id,
                               uint32_t generation, struct err *e);
#endif
