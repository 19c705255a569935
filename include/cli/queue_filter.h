/* cli/queue_filter.h - which messages and recipients `mta queue list` shows,
 * and in which order. */
#ifndef MTA_CLI_QUEUE_FILTER_H
#define MTA_CLI_QUEUE_FILTER_H

#include "base/err.h"
#include "queue/select.h"
#include "smtp/address.h"
#include "spool/format.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* As given; NULL: not given. */
struct queue_flags {
    const char *domain, *sender, *state, *older, *reply, *sort;
};

enum { QUEUE_ANY_STATE = -1, QUEUE_DELIVERING = SPOOL_DELETED + 1 };

struct queue_filter {
    bool on; /* a flag was given */
    struct queue_select select;
    int state;       /* enum spool_state, or one of the above */
    uint64_t before; /* it arrived before that, wall clock, us; 0: any */
    const char *reply;
};

/* -1 with *e, which names the values that there are.  The texts of the flags
 * must stay. */
int queue_filter_set(struct queue_filter *f, const struct queue_flags *flags,
                     struct err *e);

/* Has it a recipient that waits no more? */
bool queue_filter_wants_done(const struct queue_filter *f);

bool queue_filter_record(const struct queue_filter *f,
                         const struct spool_record *rec);
bool queue_filter_rcpt(const struct queue_filter *f, struct span address,
                       const struct spool_slot *slot, bool delivering);

/* What a message is sorted by: of its recipients that are shown. */
struct queue_key {
    uint64_t arrival, size, next; /* next: the earliest; UINT64_MAX: none */
    unsigned attempts;            /* the most */
    char sender[SMTP_ADDRESS_MAX], domain[SMTP_DOMAIN_MAX + 1];
};

enum queue_order {
    QUEUE_AS_FOUND,
    QUEUE_BY_ARRIVAL,
    QUEUE_BY_NEXT,
    QUEUE_BY_SIZE,
    QUEUE_BY_SENDER,
    QUEUE_BY_DOMAIN,
    QUEUE_BY_ATTEMPTS
};
int queue_order_set(enum queue_order *o, const char *name, struct err *e);

/* Texts that are kept until all of them are there. */
struct queue_sorter;

/* NULL: no memory. */
struct queue_sorter *queue_sorter_new(enum queue_order order);
/* Where the next text is written, and its key behind it.  -1: no memory. */
FILE *queue_sorter_out(struct queue_sorter *s);
int queue_sorter_end_text(struct queue_sorter *s, const struct queue_key *k);
int queue_sorter_print(struct queue_sorter *s, FILE *out, struct err *e);
void queue_sorter_free(struct queue_sorter **s); /* accepts NULL */
#endif
