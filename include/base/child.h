/* base/child.h - a child process that its master keeps running.
 *
 * The master of a service forks children, each with a pair of sockets
 * (base/line.h), and forks another when one has died: at once, or, so that a
 * child that cannot live costs no more than a fork a second, CHILD_PAUSE_MS
 * after the last start.  One that its master replaces is due sooner. */
#ifndef MTA_BASE_CHILD_H
#define MTA_BASE_CHILD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CHILD_PAUSE_MS = 1000, CHILD_REPLACE_PAUSE_MS = 250 };

struct child {
    pid_t pid;               /* 0: not running */
    uint64_t born, start_at; /* ms, monotonic */
};

/* Fork with os_fork().  Returns 0 in the child, its process id in the parent;
 * in both, *end is the own end of the pair.  -1 with *e: no child, and the next
 * start is due after the pause. */
pid_t child_fork(struct child *c, int *end, struct err *e);

/* In a child that serves the other end of its pair until that is closed: close
 * all other descriptors, and ignore the signals that go to all processes of a
 * service, because work is in hand until then. */
void child_serve_only(int end);

/* The child has ended, or is given up: the next start is due at once or after
 * the pause. */
void child_ended(struct child *c);

/* The child is given up because it hangs: the next start is due at once, or
 * CHILD_REPLACE_PAUSE_MS after the last one.  Work waits for it, and it has
 * shown that it can live. */
void child_replaced(struct child *c);

/* Not running, and the start is due. */
bool child_is_due(const struct child *c, uint64_t now);

/* The ms until the start of a child that is not running is due, if that is less
 * than `next`, which is -1 for: nothing is due. */
long child_wait(const struct child *c, uint64_t now, long next);
#endif
