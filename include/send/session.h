/* send/session.h - the sending side of one SMTP session (RFC 5321).
 *
 * Made and freed by the main thread; between session_start() and ended() it
 * belongs to one worker.  Jobs go in with session_give() and come back, each
 * once and in any case, through done(); after ended() none comes any more
 * and the caller may free the session once the turn of its loop is over.
 * What it does on which reply stands in src/send/session_table.c. */
#ifndef MTA_SEND_SESSION_H
#define MTA_SEND_SESSION_H

#include "base/addr.h"
#include "fsm/fsm.h"
#include "net/conn.h"
#include "send/delivery.h"

extern const struct fsm send_session_fsm;

struct session;

/* What all sessions of a worker have in common. */
struct session_env {
    struct conn_env *conns;
    const char *hostname; /* said in EHLO */
    unsigned linger;      /* seconds to wait for another message */
    unsigned timeout_cap; /* for tests: no time-out is longer; 0: RFC 5321 */
    bool hurry;           /* do not linger: others wait for a descriptor */
    void (*done)(void *ctx, struct job *j);
    void (*ended)(void *ctx, struct session *s);
    void *ctx;
};

/* host is the peer's name, or its address, for people. NULL: no memory. */
struct session *session_new(const struct addr *peer, const char *host);
void session_free(struct session **s); /* accepts NULL; leaves NULL */

void session_start(struct session *s, const struct session_env *env);
void session_give(struct session *s, struct job *j);
bool session_has_more(const struct session *s); /* jobs not yet begun */
void session_hurry(struct session *s);          /* end it if it only lingers */
void session_stop(struct session *s); /* finish what is in hand, then QUIT */
void session_kill(struct session *s); /* end it now */

/* How it ended: valid after ended(). */
struct session_end {
    bool fault;         /* not by our own choice and not while idle */
    bool local;         /* the fault is ours: descriptors, memory */
    unsigned delivered; /* messages that the peer took */
    struct answer why;  /* of the fault */
};
const struct session_end *session_end(const struct session *s);
struct note *session_note(struct session *s);
struct session *session_of_note(struct note *n);
struct lane *session_lane(const struct session *s);
void session_set_lane(struct session *s, struct lane *l);
#endif
