/* deliver/mailboxes_private.h - processes and mailboxes, as mailboxes.c and
 * stuck.c share them. */
#ifndef MTA_DELIVER_MAILBOXES_PRIVATE_H
#define MTA_DELIVER_MAILBOXES_PRIVATE_H

#include "deliver/mailboxes.h"
#include "mailbox/client.h"

struct mailbox_end {
    struct loop_io io;
    struct deliver *d;
    unsigned number;
    struct mailbox_client *client;    /* NULL: there is no process now */
    uint64_t requested;               /* ms, when another was; 0: not */
    struct copy *out[MAILBOX_WINDOW]; /* by tag */
    unsigned ncopies;                 /* out and to be put */
    struct list put;                  /* copies, to be put */
    struct list line;                 /* recipients; ncopies is at its limit */
    uint64_t tags;                    /* counted */
    uint64_t heard;                   /* ms; an answer, or work after none */
};

/* A mailbox with copies in flight or recipients in line, or a patient one. */
struct box {
    struct map_link link;
    struct list patient; /* linked: it is */
    struct list line;    /* recipients; ncopies is at its limit */
    unsigned ncopies;
    char key[];
};

static inline bool box_is_patient(const struct box *b)
{
    return list_linked(&b->patient);
}

void box_set_patient(struct deliver *d, struct box *b, bool is_patient);
/* Free it if nothing needs it. */
void box_settle(struct deliver *d, struct box *b);

/* The process is gone: copies without an answer go to its successor, or where
 * their mailbox is now.  death: the copy in its hand is blamed, and it counts
 * for all. */
void mailboxes_lost(struct mailbox_end *p, bool death);

/* The copy leaves process and mailbox, and is the caller's. */
struct box *mailboxes_leave(struct mailbox_end *p, struct copy *c);
/* Behind that: there may be room for recipients in line. */
void mailboxes_left(struct mailbox_end *p, struct box *b);

/* Ask the master to kill and replace the process, or to start it. */
void mailboxes_request(struct mailbox_end *p);

/* Timer: replace processes that hang. */
void mailboxes_replace_stuck(struct loop_timer *t);
#endif
