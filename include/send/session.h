/* send/session.h - the sending side of one SMTP session (RFC 5321).
 *
 * Made and freed by the main thread; between send_session_start() and ended()
 * it belongs to one worker.  Jobs go in with send_session_give() and come
 * back, each once and in any case, through done(); after ended() none comes
 * any more and the caller may free the session once the turn of its loop is
 * over.
 * What it does on which reply stands in src/send/session_table.c. */
#ifndef MTA_SEND_SESSION_H
#define MTA_SEND_SESSION_H

#include "base/addr.h"
#include "fsm/fsm.h"
#include "net/conn.h"
#include "send/delivery.h"

extern const struct fsm send_session_fsm;

struct send_session;

/* What all sessions of a worker have in common. */
struct send_env {
    struct conn_env *conns;
    const char *hostname; /* said in EHLO */
    unsigned linger;      /* seconds to wait for another message */
    unsigned timeout_cap; /* for tests: no time-out is longer; 0: RFC 5321 */
    bool hurry;           /* do not linger: others wait for a descriptor */
    void (*done)(void *ctx, struct delivery *j);
    void (*ended)(void *ctx, struct send_session *s);
    void *ctx;
};

/* host is the peer's name, or its address, for people. NULL: no memory. */
struct send_session *send_session_new(const struct addr *peer,
                                      const char *host);
void send_session_free(struct send_session **s); /* accepts NULL; leaves NULL */

void send_session_start(struct send_session *s, const struct send_env *env);
void send_session_give(struct send_session *s, struct delivery *j);
bool send_session_has_more(
    const struct send_session *s);               /* deliveries not yet begun */
void send_session_hurry(struct send_session *s); /* end it if it only lingers */
void send_session_stop(
    struct send_session *s); /* finish what is in hand, then QUIT */
void send_session_kill(struct send_session *s); /* end it now */

/* How it ended: valid after ended(). */
struct send_session_end {
    bool fault;         /* not by our own choice and not while idle */
    bool local;         /* the fault is ours: descriptors, memory */
    unsigned delivered; /* messages that the peer took */
    struct answer why;  /* of the fault */
};
const struct send_session_end *send_session_end(const struct send_session *s);
struct work_item *send_session_note(struct send_session *s);
struct send_session *send_session_of_note(struct work_item *n);
struct lane *send_session_lane(const struct send_session *s);
void send_session_set_lane(struct send_session *s, struct lane *l);
#endif
