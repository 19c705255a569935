/* log/run.h - the files of run/ that the log locks. */
#ifndef MTA_LOG_RUN_H
#define MTA_LOG_RUN_H

#include "base/err.h"
#include "base/rundir.h"

#include <stdbool.h>

/* run/ of the queue directory; closed with rundir_close(). */
int log_rundir_open(struct rundir *run, const char *queue_dir, struct err *e);

/* run/name, opened for locking; -1 with *e. */
int log_run_open(const char *queue_dir, const char *name, struct err *e);

/* Is a collector running for this directory?  It holds run/log.lock. */
bool log_collector_alive(const char *queue_dir);
#endif
