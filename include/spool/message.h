/* spool/message.h - one message of an open queue: envelope, body, slots.
 *
 * For the process that holds the queue (spool/queue.h), not for threads; but
 * a body may be read by other threads while it is pinned.  Functions return
 * 0, or -1 with *e filled in. */
#ifndef MTA_SPOOL_MESSAGE_H
#define MTA_SPOOL_MESSAGE_H

#include "base/list.h"
#include "spool/reader.h"

struct spool_queue;
struct spool_segment;

/* Stands in the owner's own struct; the queue updates place and segment when
 * it moves the record. */
struct spool_message {
    struct list link; /* in its segment */
    struct spool_segment *segment;
    uint64_t at; /* of the record, in the segment file */
    struct spool_record rec;
};

/* A reader is good until the next call for another message. */
int spool_message_reader(struct spool_queue *q, const struct spool_message *m,
                         struct spool_reader *v, struct err *e);
/* As spool_reader_envelope().  Cheap for messages next to each other. */
int spool_message_envelope(struct spool_queue *q, const struct spool_message *m,
                           spool_field_fn *fn, void *ctx, struct err *e);

/* The body; valid until spool_message_unpin().  Pins nest.  (Take m->segment
 * when pinning: the message may move while it is pinned.) */
int spool_message_pin(struct spool_queue *q, struct spool_message *m,
                      struct body *body, struct err *e);
/* The same for a body that is read by another process: its descriptor cannot
 * be written through. */
int spool_message_pin_read_only(struct spool_queue *q, struct spool_message *m,
                                struct body *body, struct err *e);
void spool_message_unpin(struct spool_queue *q, struct spool_segment *pinned);

int spool_slot_get(struct spool_queue *q, const struct spool_message *m,
                   uint32_t index, struct spool_slot *slot, struct err *e);
/* Written in place; durable at the next spool_queue_sync(). */
int spool_slot_put(struct spool_queue *q, struct spool_message *m,
                   uint32_t index, const struct spool_slot *slot,
                   struct err *e);
/* Sync segments with changed slots; call about once a second. */
int spool_queue_sync(struct spool_queue *q, struct err *e);

/* A place among the messages of the queue.  It stays good while messages come
 * and go; no record is moved (spool/reclaim.h) while there is one. */
struct spool_cursor {
    struct list link;
    struct spool_segment *segment; /* NULL: at the end */
    struct list *next;
};
void spool_cursor_begin(struct spool_queue *q, struct spool_cursor *c);
/* The next message, each once; NULL: that was the last. */
struct spool_message *spool_cursor_next(struct spool_queue *q,
                                        struct spool_cursor *c);
void spool_cursor_end(struct spool_cursor *c);

/* Call it when no recipient is pending or held any more: the struct is the
 * owner's again, and its segment may be removed. */
void spool_message_done(struct spool_queue *q, struct spool_message *m);
#endif
