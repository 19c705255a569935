/* cli/queue_show.h - `mta queue show` and `cat`. */
#ifndef MTA_CLI_QUEUE_SHOW_H
#define MTA_CLI_QUEUE_SHOW_H

#include "cli/options.h"

/* The message o->args[1].  They return the exit status. */
int queue_show(const struct options *o);
int queue_cat(const struct options *o);
#endif
