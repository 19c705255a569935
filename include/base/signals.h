/* base/signals.h - the signals of this process.
 *
 * One handler for all caught signals: it counts the signal and writes to a
 * pipe, so that a wait in select() sees it.  The count is read, and reset,
 * outside the handler.  A process has one set; a child begins with none
 * (os_fork() calls signals_forget()).  A process that waits with its signals
 * let in (pselect(), msgrcv()) needs no pipe, see signals_block() and
 * signals_call(). */
#ifndef MTA_BASE_SIGNALS_H
#define MTA_BASE_SIGNALS_H

#include "base/err.h"

#include <signal.h>
#include <stddef.h>

/* Catch these from now on, with counts of 0; SIGPIPE is ignored.  Makes the
 * pipe.  0, or -1 with *e. */
int signals_catch(const int *signo, size_t n, struct err *e);

/* The end of the pipe to watch; os_drain() empties it. */
int signals_fd(void);

/* How often it arrived since signals_take(). */
unsigned signals_count(int signo);

/* The same, and reset: called before the work that the signal asks for, so that
 * a signal during the work asks for it again. */
unsigned signals_take(int signo);

/* Block these until a wait with the mask *wait lets them in.  *before: for
 * sigprocmask() at the end. */
void signals_block(const int *signo, size_t n, sigset_t *before,
                   sigset_t *wait);

/* Let the handler call this as well, for a wait that no descriptor ends.  It
 * may use async-signal-safe functions and errno.  NULL: no more. */
void signals_call(void (*fn)(void));

/* In a child: the handlers and the pipe are those of its parent.  SIGTERM and
 * SIGINT end it from now on, SIGHUP and SIGUSR1 are ignored (the child reads
 * its settings now), SIGCHLD is as at the start of a program. */
void signals_forget(void);
#endif
