/* send/worker.h - a thread with many sessions in one pselect(), or with the
 * local mailboxes.
 *
 * The main thread gives notes (jobs, sessions to open) and gets them back;
 * both directions are a list behind one mutex and a pipe that is written to
 * only when the list was empty.  Notes given in a turn travel together. */
#ifndef MTA_SEND_WORKER_H
#define MTA_SEND_WORKER_H

#include "base/err.h"
#include "send/boxes.h"
#include "send/delivery.h"

#include <stdbool.h>

struct worker;

struct worker_options {
    const char *hostname; /* for EHLO */
    unsigned linger, timeout_cap;
    size_t max_sessions;
    struct boxes *boxes; /* local delivery; NULL: sessions.  Taken over. */
};

/* Signals must be blocked already: the thread inherits that. */
int worker_start(struct worker **w, const struct worker_options *o,
                 struct err *e);

void worker_give(struct worker *w, struct note *n);
void worker_hand_over(struct worker *w); /* at the end of a turn */

/* Readable when notes have come back; worker_take() moves them to `to`. */
int worker_fd(const struct worker *w);
void worker_take(struct worker *w, struct list *to);

/* Do not let sessions linger: others wait for descriptors. */
void worker_hurry(struct worker *w, bool on);
/* End every session when its transaction in hand is over ... */
void worker_stop(struct worker *w);
/* ... or now; waits for the thread.  All notes have come back then. */
void worker_join(struct worker *w);
void worker_free(struct worker **w); /* joined; accepts NULL */

/* The thread has given up (its loop failed); *e says why. */
bool worker_failed(struct worker *w, struct err *e);
#endif
