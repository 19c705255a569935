/* spool/segments_private.h - the inside of a queue: its segments and their
 * files.
 *
 * For src/spool only. */
#ifndef MTA_SPOOL_SEGMENTS_PRIVATE_H
#define MTA_SPOOL_SEGMENTS_PRIVATE_H

#include "base/map.h"
#include "spool/newest_private.h"
#include "spool/queue.h"
#include "spool/recent_private.h"
#include "spool/records_private.h"
#include "spool/segment_private.h"

enum { SPOOL_OPEN_FILES = 64, SPOOL_RECLAIM_ITEMS = 64 };

/* Records that reclaim wrote itself, which the scan skips. */
struct spool_range {
    struct spool_range *next;
    uint64_t from, to;
};

struct spool_segment {
    struct map_link by_id;
    struct list link;   /* all */
    struct list active; /* those in which more may be found */
    struct list open;   /* those with a descriptor, the oldest use first */
    struct list dirty;  /* those with slots that are not synced */
    struct list messages;
    struct list moved_out, moved_in; /* unlink_order_private.h */
    struct spool_range *own;
    uint64_t id, size; /* of the file */
    uint64_t scanned, end;
    uint64_t live_bytes;
    uint32_t live, pins;
    uint32_t children;  /* of the header */
    uint64_t confirmed; /* as last read; children behind it hold the file */
    int fd, read_fd;    /* read_fd: to be given away; -1: none */
    bool closed;        /* its writer has ended */
    bool moved;         /* some record has a generation */
    bool damaged;       /* renamed to .bad instead of removed */
    bool lost; /* was read while it was live; then its writer's sync failed */
    bool large;
    bool stuck; /* reclaim failed, or of another format: leave it */
    bool gone;  /* the file is unlinked; only pins keep this */
};

struct spool_queue {
    char dir[SPOOL_DIR];
    enum spool_name name;
    int lock_fd, wake_fd;
    struct map by_id;
    struct list all, active, open, dirty;
    struct list unlinked; /* moves whose old file's unlink is not synced */
    size_t nopen;
    uint64_t nsegments, messages, disk_bytes, live_bytes, nbad;
    uint64_t look_ms;    /* when the directory was read last */
    bool look;           /* read it at the next scan */
    bool dir_dirty;      /* an entry went and that is not synced */
    bool unsynced;       /* a sync failed: its marks may never be written */
    bool noted;          /* moved records were noted */
    bool settled;        /* what was there at the start has been shown */
    bool unconfirmed;    /* a segment stays for its children alone */
    struct list cursors; /* of spool/message.h */
    struct list arrived; /* new ones of the directory, not yet in order */
    size_t narrived;
    int reclaim_items; /* moved in one step; tests move fewer */
    struct spool_newest newest;
    struct spool_records records;
    struct spool_records ahead; /* what was read of messages' envelopes */
    struct spool_recent recent;
};

struct spool_segment *spool_segments_find(struct spool_queue *q, uint64_t id);
/* Found or made; NULL: no memory. */
struct spool_segment *spool_segments_add(struct spool_queue *q, uint64_t id);
/* Its descriptor; -1 with *e. */
int spool_segments_fd(struct spool_queue *q, struct spool_segment *g,
                      struct err *e);
/* A second one, which cannot be written through. */
int spool_segments_read_fd(struct spool_queue *q, struct spool_segment *g,
                           struct err *e);
/* Remove the file if it is not needed any more. */
void spool_segments_settle(struct spool_queue *q, struct spool_segment *g);
void spool_segments_settle_all(struct spool_queue *q);
/* Has a closed segment a child whose parent's marks may not be on the disk? */
bool spool_segments_unconfirmed(struct spool_queue *q, struct spool_segment *g);
/* Forget it, leave the file alone. */
void spool_segments_forget(struct spool_queue *q, struct spool_segment *g);
/* Was it an empty segment that went with its writer?  Then it is forgotten. */
bool spool_segments_vanished(struct spool_queue *q, struct spool_segment *g,
                             const struct err *why);
int spool_segments_sync_dir(struct spool_queue *q, struct err *e);
void spool_segments_resize(struct spool_queue *q, struct spool_segment *g,
                           uint64_t size);

/* segments_scan.c */
/* Read the directory; find out which segments have a writer, recover the
 * others.  strict: a segment of another format is an error. */
int spool_segments_scan(struct spool_queue *q, bool strict, struct err *e);
/* How far may the segment be read now?  probe: also ask for its lock. */
int spool_segments_refresh(struct spool_queue *q, struct spool_segment *g,
                           bool probe, struct err *e);

/* cursor.c */
void spool_cursors_leave_message(struct spool_queue *q,
                                 const struct spool_message *m);
void spool_cursors_leave_segment(struct spool_queue *q,
                                 const struct spool_segment *g);

/* message.c */
void spool_message_place(struct spool_queue *q, struct spool_segment *g,
                         struct spool_message *m, uint64_t at);
void spool_message_remove(struct spool_queue *q, struct spool_message *m);
#endif
