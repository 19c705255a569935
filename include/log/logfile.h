/* log/logfile.h - where the collector writes: a file, or standard output.  For
 * src/log, and the supervisor, which opens the file.
 *
 * What a batch of lines needs to be in a regular file exactly once is kept
 * in the page in flight; a pipe or a terminal cannot be read back, so there a
 * line may come twice after a kill, but never half. */
#ifndef MTA_LOG_LOGFILE_H
#define MTA_LOG_LOGFILE_H

#include "log/inflight.h"

struct logfile {
    int fd;       /* -1: closed */
    bool regular; /* a file that can be looked into */
    bool torn;    /* it ends in the middle of a line: begin a new one */
};

/* Open the file, made if there is none (0640), to be read too where that is
 * allowed; extra: flags of open().  "-": standard output.  -1 with *e. */
int logfile_open(const char *path, int extra, struct err *e);

/* Write to fd, the file of that name, from now on; the one before is closed.
 * Owns fd if it succeeds; *s changes only then. */
int logfile_use(struct logfile *s, const char *path, int fd, struct err *e);
void logfile_close(struct logfile *s);

/* How much of the batch (n bytes, the first skip elsewhere) that an earlier
 * collector left is in the file; at least skip. */
size_t logfile_find(const struct logfile *s, const struct inflight *p,
                    const char *batch, size_t n);

/* Remember where batch + skip is going to be. */
int logfile_place(struct logfile *s, struct inflight *p);

/* Write some of it; returns how much, or -1 with errno. */
ssize_t logfile_write(const struct logfile *s, const char *p, size_t n);

/* Before the rest goes elsewhere: take back the half of a line that is at
 * the end of batch[0..done).  Returns how much of it stays. */
size_t logfile_take_back(struct logfile *s, const char *batch, size_t done);
#endif
