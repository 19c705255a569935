/* send/session.h - the sending side of one SMTP session (RFC 5321).
 *
 * Made and freed by the main thread; between send_session_start() and ended()
 * it belongs to one worker.  Deliveries go in with send_session_give(); done()
 * returns each of them exactly once.  After ended() none is returned any more,
 * and the caller may free the session when the turn of its loop is over. */
#ifndef MTA_SEND_SESSION_H
#define MTA_SEND_SESSION_H

#include "base/addr.h"
#include "fsm/fsm.h"
#include "net/tls.h"
#include "send/fault.h"
#include "send/limits.h"
#include "send/work_item.h"

extern const struct fsm send_session_fsm;

struct send_session;
struct session_login;

/* Shared by all sessions of a worker. */
struct send_env {
    struct conn_env *conns;
    const char *hostname; /* sent in EHLO */
    unsigned linger;      /* seconds to wait for another message */
    unsigned messages;    /* of a session; 0: as many as the peer takes */
    bool no_chunking;     /* never use BDAT */
    struct tls_context *tls;
    unsigned timeout_cap; /* for tests: no time-out is longer; 0: RFC 5321 */
    bool hurry;           /* do not linger: other lanes wait for a descriptor */
    void (*done)(void *ctx, struct delivery *j);
    void (*ended)(void *ctx, struct send_session *s);
    void *ctx;
};

/* host is the peer's name, or its address, for log and notices.  NULL: no
 * memory. */
struct send_session *send_session_new(const struct addr *peer, const char *host,
                                      const struct send_limits *limits);

/* Before it starts: use TLS if the host offers it, with a TLS session of the
 * same host to resume, or NULL, which is the session's then.  may: clear text
 * will do when TLS fails. */
void send_session_want_tls(struct send_session *s, bool may,
                           struct tls_session *resume);

/* Before it starts: log in.  The login is the session's then. */
void send_session_want_login(struct send_session *s, struct session_login *l);
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
    enum fault_lane lane; /* LANE_GOES_ON: by our QUIT, or while idle */
    enum fault_mail mail; /* becomes of what was not offered */
    bool fault;         /* the peer or the network ended it, and not while idle
                         */
    bool local;         /* a local failure: descriptors, memory */
    bool unanswered;    /* the host refused the connection itself */
    unsigned delivered; /* messages that the peer accepted */
    struct answer why;  /* of the fault */
    bool lost;          /* the session; */
    struct msg_id lost_id; /* this message paid for it */
    bool refused; /* MAIL of this message got 4xx; none was taken since */
    struct msg_id refused_id;
    struct send_limits learned; /* those given, brought up to date */
};
const struct send_session_end *send_session_end(const struct send_session *s);
struct work_item *send_session_leave(struct send_session *s);
struct send_session *send_session_of_leave(struct work_item *n);
struct work_item *send_session_note(struct send_session *s);
struct send_session *send_session_of_note(struct work_item *n);
/* After ended(): the TLS session that the next one can resume, or NULL; the
 * caller's.  Was its chain trusted? */
struct tls_session *send_session_take_tls(struct send_session *s,
                                          bool *chain_good);
const char *send_session_id(const struct send_session *s); /* of the log */
const char *send_session_host(const struct send_session *s);
struct lane *send_session_lane(const struct send_session *s);
void send_session_set_lane(struct send_session *s, struct lane *l);
#endif
