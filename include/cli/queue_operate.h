/* cli/queue_operate.h - `mta queue hold`, `release`, `retry`, `delete`, `flush`
 * and `drain`. */
#ifndef MTA_CLI_QUEUE_OPERATE_H
#define MTA_CLI_QUEUE_OPERATE_H

#include "cli/options.h"

struct queue_operate_flags {
    const char *domain, *sender; /* NULL: not given */
    bool all, dry_run;
};

/* By o->args: the verb, and ids.  Through the consumers that run; of a queue
 * without one, with its lock, on the disk.  Returns the exit status. */
int queue_operate(const struct options *o, const struct queue_operate_flags *f);

/* Try everything at once until nothing is left to be tried, or the time is
 * over; timeout NULL: there is none. */
int queue_drain(const struct options *o, const char *timeout);
#endif
