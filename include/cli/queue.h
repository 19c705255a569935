/* cli/queue.h - print messages of the queue. */
#ifndef MTA_CLI_QUEUE_H
#define MTA_CLI_QUEUE_H

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
};

/* One message; JSON is one object on one line (docs: interface). */
int queue_print(const struct spool_reader *v, const struct queue_style *style,
                struct err *e);
#endif
