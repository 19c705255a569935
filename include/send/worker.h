/* send/worker.h - a thread with many sessions in one pselect().
 *
 * The main thread gives work items (deliveries, sessions to open) and takes
 * them back; each direction is a list behind one mutex and a pipe that is
 * written only when the list was empty.  Items given in one turn travel
 * together. */
#ifndef MTA_SEND_WORKER_H
#define MTA_SEND_WORKER_H

#include "base/err.h"
#include "send/work_item.h"

#include <stdbool.h>

struct send_worker;

struct send_worker_options {
    const char *hostname; /* for EHLO */
    unsigned linger, timeout_cap;
    unsigned messages; /* of a session; 0: as many as the peer takes */
    bool no_chunking;
    struct tls_context *tls; /* NULL: no session uses TLS */
    size_t max_sessions;
};

/* Signals must be blocked already: the thread inherits that. */
int send_worker_start(struct send_worker **w,
                      const struct send_worker_options *o, struct err *e);

void send_worker_give(struct send_worker *w, struct work_item *n);
void send_worker_hand_over(struct send_worker *w); /* at the end of a turn */

/* Readable when items have come back; send_worker_take() moves them to `to`. */
int send_worker_fd(const struct send_worker *w);
void send_worker_take(struct send_worker *w, struct list *to);

/* Do not let sessions linger: other lanes wait for descriptors. */
void send_worker_hurry(struct send_worker *w, bool on);
/* End every session when its transaction in hand is over ... */
void send_worker_stop(struct send_worker *w);
/* ... or now; joins the thread.  All items have come back then. */
void send_worker_join(struct send_worker *w);
void send_worker_free(struct send_worker **w); /* joined; accepts NULL */

/* The thread has given up (its loop failed); *e says why. */
bool send_worker_failed(struct send_worker *w, struct err *e);
#endif
