/* spool/queue.h - the sender's view of the whole queue.
 *
 * One process per queue directory (flock on run/sender.lock) may open it for
 * sending: it alone writes slots, removes segments and moves survivors.  Not
 * for threads, but bodies handed out (spool_item_body) may be read by other
 * threads while they are pinned. */
#ifndef MTA_SPOOL_QUEUE_H
#define MTA_SPOOL_QUEUE_H

#include "base/body.h"
#include "base/err.h"
#include "base/list.h"
#include "spool/format.h"

struct spool_store;
struct spool_segment;
struct spool_writer;

/* One message in the queue.  Stands in the owner's own struct; the store
 * updates place and segment when it moves the record. */
struct spool_item {
    struct list link; /* in its segment */
    struct spool_segment *segment;
    uint64_t at; /* of the record, in the segment file */
    struct spool_record rec;
};

/* Recovers segments without a writer: drops torn tails, removes leftovers.
 * ERR_TEMP with sys EWOULDBLOCK: another sender holds the lock.  ERR_PERM:
 * there is a segment of a newer format. */
int spool_store_open(struct spool_store **s, const char *queue_dir,
                     struct err *e);
void spool_store_close(struct spool_store **s); /* syncs marks first */

/* The descriptor that becomes readable when a writer committed; call
 * spool_store_scan() then, and at start, and every few seconds. */
int spool_store_wake_fd(const struct spool_store *s);

/* One record where it stands: for those who just met it, and for tools. */
struct spool_walk;
struct spool_view {
    const struct spool_record *rec;
    int fd; /* of the segment, for spool_view_* and the body */
    uint64_t at;
    const struct spool_walk *walk; /* has read some of it already, or NULL */
};
int spool_view_slot(const struct spool_view *v, uint32_t index,
                    struct spool_slot *slot, struct err *e);
/* Call fn for each field of the envelope in order (see spool_field).  Stops
 * when fn returns non-zero and returns that; -1 with *e on failure. */
typedef int spool_field_fn(void *ctx, enum spool_field type,
                           struct span content);
int spool_view_envelope(const struct spool_view *v, spool_field_fn *fn,
                        void *ctx, struct err *e);
struct body spool_view_body(const struct spool_view *v);

/* For each record that is new since the last scan and has a recipient that
 * is pending or held: found() gets it, with place for the owner to answer:
 * the item that will represent it, or NULL when memory is out (the scan ends
 * with 1, and a later one goes on with this record).  Older generations of
 * an id never show.  found() calls nothing of the store but spool_view_*,
 * which costs little now.  -1: a segment cannot be read; all others were
 * looked at. */
typedef struct spool_item *spool_found_fn(void *ctx,
                                          const struct spool_view *v);
int spool_store_scan(struct spool_store *s, spool_found_fn *found, void *ctx,
                     struct err *e);

/* As spool_view_envelope().  Cheap for items next to each other.  A view is
 * good until the next call for another item. */
int spool_item_view(struct spool_store *s, const struct spool_item *it,
                    struct spool_view *v, struct err *e);
int spool_item_envelope(struct spool_store *s, const struct spool_item *it,
                        spool_field_fn *fn, void *ctx, struct err *e);

/* The body; valid until spool_item_unpin().  Pins nest. */
int spool_item_pin(struct spool_store *s, struct spool_item *it,
                   struct body *body, struct err *e);
void spool_item_unpin(struct spool_store *s, struct spool_segment *pinned);
/* (take it->segment when pinning: the item may move while pinned) */

int spool_slot_get(struct spool_store *s, const struct spool_item *it,
                   uint32_t index, struct spool_slot *slot, struct err *e);
/* In place; durable at the next spool_store_sync(). */
int spool_slot_put(struct spool_store *s, struct spool_item *it, uint32_t index,
                   const struct spool_slot *slot, struct err *e);
/* Sync segments with changed slots; call about once a second. */
int spool_store_sync(struct spool_store *s, struct err *e);

/* Nothing of this message is pending or held any more: the item is the
 * owner's again, its segment may go. */
void spool_item_done(struct spool_store *s, struct spool_item *it);

/* Copy survivors out of closed segments that hold mostly dead bytes into w's
 * segment, commit w, remove the old.  Does a bounded piece of work, and none
 * while w has a turn of its owner's; 1: call again soon. */
int spool_store_reclaim(struct spool_store *s, struct spool_writer *w,
                        struct err *e);

struct spool_usage {
    uint64_t segments, disk_bytes, live_bytes, messages;
    uint64_t damaged; /* segments in which something has rotted, .bad ones
                         included: a person must look */
};
void spool_store_usage(const struct spool_store *s, struct spool_usage *u);

/* For tools: look at every record of the queue without a lock, while others
 * work or nobody does. */
typedef int spool_view_fn(void *ctx, const struct spool_view *v);
/* 0; what fn returned when non-zero; -1 with *e.  Records without a pending
 * or held recipient are shown only with `all`. */
int spool_look(const char *queue_dir, bool all, spool_view_fn *fn, void *ctx,
               struct err *e);
#endif
