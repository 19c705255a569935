/* queue/history.h - what happened to the recipients of a queue: a ring in a
 * file beside its segments, for `mta queue show`.
 *
 * A record is one event: an attempt, a hand-over, an end.  The consumer of the
 * queue writes them, some at once, and never syncs: after a kill or a power cut
 * the last ones may be missing.  The ring is no part of any promise; where it
 * cannot be written, mail goes on.  docs/spool.md has the bytes. */
#ifndef MTA_QUEUE_HISTORY_H
#define MTA_QUEUE_HISTORY_H

#include "base/addr.h"
#include "base/err.h"
#include "base/msg_id.h"
#include "smtp/status.h"
#include "spool/format.h"

#include <stdbool.h>
#include <stdint.h>

enum history_kind {
    HISTORY_DELIVERED = 1,
    HISTORY_DEFERRED,
    HISTORY_BOUNCED,  /* other: id of the notice, or "none" */
    HISTORY_EXPANDED, /* handed over to part `child` of the other queue */
    HISTORY_HELD,     /* by an operator, as the next two: slot is the number of
                   * recipients, other names the uid */
    HISTORY_RELEASED,
    HISTORY_DELETED,
    HISTORY_KINDS
};

/* The texts of an event that was read last until the function returns. */
struct history_event {
    enum history_kind kind;
    bool local;          /* host is a mailbox */
    bool verified;       /* the certificate of the peer */
    bool cut;            /* the reply is longer */
    uint64_t when, next; /* wall clock, us; next: 0: there is none */
    struct msg_id id;
    uint64_t part, child;
    uint32_t slot, attempts, rounds;
    uint64_t size, arrival;
    struct smtp_status status;
    uint16_t tls_version, tls_cipher; /* 0: in clear */
    struct addr peer;                 /* family 0: none was asked */
    struct span sender, rcpt, host, sid, reply, other;
};

/* --- write -------------------------------------------------------------- */

struct history;

/* In the queue of that name, with about so many octets; an existing ring of
 * another size is begun anew.  size 0: there is none; *h is NULL.  -1 with *e:
 * *h is NULL, or a ring that could not be begun, as on a full disk, which each
 * flush tries again. */
#define HISTORY_AS_IT_IS UINT64_MAX /* an existing ring; none is made */
int history_open(struct history **h, const char *queue_dir,
                 enum spool_name name, uint64_t size, struct err *e);
void history_close(struct history **h); /* accepts NULL; writes what is left */

/* Add an event to the turn; what does not fit into a record is cut.  h may be
 * NULL. */
void history_add(struct history *h, const struct history_event *ev);

/* Is there something to write? */
bool history_waits(const struct history *h);

/* Write it.  -1 with *e once, when a write has failed after they had worked. */
int history_flush(struct history *h, struct err *e);

/* --- read --------------------------------------------------------------- */

/* Non-zero ends the call, which returns it. */
typedef int history_fn(void *ctx, const struct history_event *ev);

struct history_query {
    const struct msg_id *id; /* NULL: all messages */
    uint64_t since;          /* wall clock, us; 0: all there is */
};

/* The events of one queue, the oldest first, while it is written to or not.
 * Blocks that are damaged are skipped.  0, also when there is no ring; -1 with
 * *e. */
int history_read(const char *queue_dir, enum spool_name name,
                 const struct history_query *query, history_fn *fn, void *ctx,
                 struct err *e);

/* Since when the ring has all that happened: 0: from its first event on, and it
 * has forgotten none; UINT64_MAX: there is none. */
uint64_t history_since(const char *queue_dir, enum spool_name name);

const char *history_kind_text(enum history_kind kind);
#endif
