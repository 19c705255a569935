/* log/logfile.h - the output of the collector: a file, or standard output.  For
 * src/log, and the supervisor, which opens the file.
 *
 * The page in flight has what is needed to write a batch to a regular file
 * exactly once.  A pipe or a terminal cannot be read back, so a line may appear
 * there twice after a kill, but never half. */
#ifndef MTA_LOG_LOGFILE_H
#define MTA_LOG_LOGFILE_H

#include "log/inflight.h"

struct logfile {
    int fd;       /* -1: closed */
    bool regular; /* a file that can be read back */
    bool torn;    /* it ends within a line: begin a new one */
};

/* Open the file, created with mode 0640 if there is none, for reading too if
 * that is permitted; extra: flags of open().  "-": standard output.  -1 with
 * *e. */
int logfile_open(const char *path, int extra, struct err *e);

/* Write to fd, the file of that name, from now on, and close the former one.
 * Owns fd if it succeeds; *s changes only then. */
int logfile_use(struct logfile *s, const char *path, int fd, struct err *e);
void logfile_close(struct logfile *s);

/* The length of an earlier collector's batch (n bytes, the first skip
 * elsewhere) that is already in the file; at least skip. */
size_t logfile_find(const struct logfile *s, const struct inflight *p,
                    const char *batch, size_t n);

/* Record in the page where batch + skip will be written. */
int logfile_place(struct logfile *s, struct inflight *p);

/* Write a part of p; returns its length, or -1 with errno. */
ssize_t logfile_write(const struct logfile *s, const char *p, size_t n);

/* Truncate the half of a line at the end of batch[0..done), before the rest is
 * written elsewhere.  Returns the length that stays. */
size_t logfile_take_back(struct logfile *s, const char *batch, size_t done);
#endif
