/* deliver/work.h - a message in hand, with some of its recipients as the
 * envelope has them.  For src/deliver alone.
 *
 * Lives for a part of one turn; all texts are in its own memory. */
#ifndef MTA_DELIVER_WORK_H
#define MTA_DELIVER_WORK_H

#include "deliver/state.h"

enum work_fate {
    WORK_UNKNOWN_YET,
    WORK_MAILBOX,  /* one copy, for item->key */
    WORK_REPLACED, /* by a child */
    WORK_ANSWERED, /* item->answer */
    WORK_LATER,    /* nothing now, and uncounted */
    WORK_PUT_OFF   /* by work_put_off() */
};

struct work_target {
    struct work_target *next; /* of the item */
    struct map_link link;     /* in the step */
    struct work_item *of;
    enum local_kind kind;
    const char *name;
    unsigned group;  /* of the step, once it is in it */
    unsigned notify; /* bits of smtp/dsn.h */
};

struct work_item {
    struct rcpt *rcpt; /* in no list */
    const char *address, *orcpt, *notify, *mailbox;
    bool here;
    enum work_fate fate;
    const char *key;
    struct work_target *target, **end;
    unsigned ntargets;
    const char *alias, *owner; /* NULL: none */
    unsigned group;            /* of the step */
    enum notice notice;    /* NOTICE_NONE, or when it is replaced (RFC 3461) */
    struct answer *answer; /* NULL: none */
};

struct work {
    struct deliver *d;
    struct message *msg;
    const char *sender, *envid, *ret, *sid; /* NULL: not there */
    struct span tables; /* of a hand-over between the queues; n 0: none */
    size_t n;
    struct work_item *item; /* by slot */
    uint32_t slot;          /* of the next recipient in the envelope */
    size_t next;            /* in item */
    struct work_block *blocks;
    struct work_field *delivered_to; /* of the header, once it is read */
    bool header_read;
};

/* Take recipients of m in that state, at most `most`, out of their lists and
 * read them.  NULL: no memory, or the message could not be read: they are due
 * later. */
struct work *work_open(struct deliver *d, struct message *m,
                       enum rcpt_state state, size_t most);
void work_free(struct work **w); /* accepts NULL; leaves NULL */

/* The message cannot be read: say so, and try the item again in a minute. */
void work_report(struct work *w, const struct err *e);
void work_put_off(struct work *w, const struct work_item *i,
                  const struct err *e);

/* Memory of the work, NULL: none. */
void *work_alloc(struct work *w, size_t n);
const char *work_keep(struct work *w, struct span text);

/* The text is printf-like.  Without memory the item comes later. */
void work_answer(struct work *w, struct work_item *i, enum outcome outcome,
                 const char *status, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* A setting of ours has to change first. */
void work_answer_waits(struct work *w, struct work_item *i, const char *status,
                       const char *text);
#endif
