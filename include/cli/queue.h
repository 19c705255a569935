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
    long retry_min;          /* between two attempts, seconds */
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

/* What the consumers do, by that command.  Without running ones the result is
 * NULL and no error: the slots hold all but what is under way. */
struct queue_live *queue_ask_consumers(const struct options *o,
                                       const char *command);

/* To standard output, as the flags and a terminal there want it. */
struct queue_style queue_style_of(const struct options *o);

/* To standard error, with the way out; the latter returns the exit status. */
void queue_complain(const struct options *o, const struct err *e);
int queue_fail(const struct options *o, const struct err *e);

/* A directory whose name is mistyped looks like a queue without processes.
 * EX_OK: it has one; else complain, and return the exit status. */
int queue_find(const struct options *o);
#endif
