/* deliver/copy.h - one recipient of a message and its mailbox, until its
 * answer.  For src/deliver alone. */
#ifndef MTA_DELIVER_COPY_H
#define MTA_DELIVER_COPY_H

#include "deliver/work.h"
#include "mailbox/request.h"

struct box;

struct copy {
    struct delivery delivery; /* the first: delivery_free() frees all */
    struct delivery_rcpt rcpt;
    struct list link; /* of those that are to be put */
    struct box *box;  /* NULL: none */
    uint64_t since;   /* wall clock, us: given to a process or its line */
    uint64_t tag;     /* 0: no process has it */
    unsigned blamed;  /* for deaths of its process, and deaths it has seen */
    unsigned deaths;
    bool look_first;
};

/* NULL: no memory, or the message cannot be read; the recipient comes later. */
struct copy *copy_new(struct work *w, const struct work_item *i);

/* For a notice (RFC 3461 5.2.7) about a recipient that a child replaces; NULL
 * with *e. */
struct copy *copy_of_replaced(struct work *w, const struct work_item *i,
                              struct err *e);

/* What a mailbox process is asked. */
struct mailbox_request copy_request(const struct copy *c, const char *key);

/* Takes the copy: to the queue, with that result.  A copy without a result may
 * have been written, and is looked for at its next try. */
void copy_answered(struct deliver *d, struct copy *c,
                   const struct mailbox_answer *a, const char *key);
void copy_settled(struct deliver *d, struct copy *c, const struct answer *a);
void copy_unanswered(struct deliver *d, struct copy *c, const char *status,
                     const char *text);

/* Takes the copy: its recipient is as if it had not been tried. */
void copy_drop(struct deliver *d, struct copy *c);
#endif
