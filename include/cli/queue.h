/* cli/queue.h - print messages of the queue. */
#ifndef MTA_CLI_QUEUE_H
#define MTA_CLI_QUEUE_H

#include "cli/options.h"
#include "cli/queue_filter.h"
#include "cli/queue_live.h"
#include "spool/reader.h"

#include <stdbool.h>
#include <stdio.h>

struct queue_style {
    FILE *out;
    bool json;
    bool colour;             /* a terminal, and NO_COLOR is not set */
    bool all_recipients;     /* those that are done too, and the origin */
    long lifetime;           /* of a message in the queue, seconds */
    struct queue_live *live; /* NULL: no sender runs */
    const char *history;     /* JSON, for the first record; NULL: none */
    const struct queue_filter *filter; /* NULL: none */
};

/* One message; JSON is one object on one line (docs: interface). */
/* Is any of it to be shown by the filter?  1, with the key to sort it by; 0; -1
 * with *e. */
int queue_look(const struct spool_reader *v, const struct queue_style *style,
               struct queue_key *key, struct err *e);

int queue_print(const struct spool_reader *v, const struct queue_style *style,
                struct err *e);

/* To standard error, with the way out. */
void queue_complain(const struct options *o, const struct err *e);
#endif
