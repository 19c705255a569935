/* log/collector.h - the process that owns the log file.
 *
 * One per queue directory, ensured by flock on run/log.lock.  The collector
 * reads whole messages from the SysV queue and appends them to the file (or
 * stdout).  Each message received is written, by the next collector if this one
 * is killed.  A full disk or a failing file is retried as long as it lasts,
 * while the queue fills up and writers wait.  The supervisor opens the file; to
 * change it, it sends another one over the line, then SIGHUP.  On SIGTERM or
 * SIGINT the collector drains the queue, waits up to linger_ms for writers that
 * stop too (a second signal ends this wait), and removes the queue when no
 * writer is attached any more (writers hold a shared flock on run/log.writers).
 *
 * Call log_style() first, because the collector logs events of its own.
 * docs/log.md has the table of failures. */
#ifndef MTA_LOG_COLLECTOR_H
#define MTA_LOG_COLLECTOR_H

#include "base/err.h"
#include "base/sandbox.h"
#include "log/log.h"

#include <stdbool.h>

struct log_collect {
    const char *queue_dir;
    const char *file;   /* its name; "-": standard output */
    int fd;             /* of the file, from logfile_open(); closed here */
    int line;           /* for log_hand_over(); -1: none */
    unsigned linger_ms; /* from SIGTERM or SIGINT on, for other writers */
    const struct sandbox_report *sandbox; /* to be logged; NULL: none */
};

/* Run until SIGTERM or SIGINT, which the caller may have blocked; they are
 * unblocked once their handlers are set.  Returns 0, or -1 with *e (ERR_TEMP
 * with sys EWOULDBLOCK when another collector holds the lock). */
int log_collect(const struct log_collect *o, struct err *e);

/* Send a running collector another file and style; send it SIGHUP
 * afterwards. */
int log_hand_over(int line, const struct log_collect *o, enum log_level level,
                  enum log_format format, struct err *e);
#endif
