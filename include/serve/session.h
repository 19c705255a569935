/* serve/session.h - one SMTP conversation, server side.
 *
 * session_table.c is the behaviour, as rows; session.c feeds it with events
 * from the connection; actions.c does what the rows say. */
#ifndef MTA_SERVE_SESSION_H
#define MTA_SERVE_SESSION_H

#include "base/list.h"
#include "base/msg_id.h"
#include "dns/fcrdns.h"
#include "fsm/fsm.h"
#include "net/conn.h"
#include "serve/commit.h"
#include "serve/transaction.h"
#include "smtp/command.h"

enum serve_session_state {
    S_GREETED, /* the banner is out, no HELO yet */
    S_READY,   /* between transactions */
    S_MAIL,    /* MAIL accepted, no recipient yet */
    S_RCPT,    /* at least one recipient */
    S_DATA,    /* the body arrives */
    S_COMMIT,  /* the dot was seen; waits for the commit */
    S_END,
    S_NSTATES
};

enum serve_session_event {
    E_HELO,
    E_EHLO,
    E_MAIL,
    E_RCPT,
    E_DATA,
    E_RSET,
    E_QUIT,
    E_VRFY,
    E_NOOP,
    E_HELP,
    E_OFF,     /* a command that exists, but is switched off */
    E_UNKNOWN, /* no such command */
    E_GARBLED, /* not a command: NUL, bare CR, too long */
    E_BARE_LF, /* a line that ends in LF alone: framing is in doubt */
    E_TIMEOUT,
    E_HANGUP, /* the client is gone */
    E_STOP,   /* this server stops */
    E_NOUTSIDE,
    /* posted by actions, the body and the commit: */
    E_ACCEPTED = E_NOUTSIDE,
    E_DOT,
    E_QUEUED,
    E_DELIVERED,
    E_UNSTORED,
    E_TOO_MANY_ERRORS,
    E_NEVENTS
};

struct worker;

/* With a connection that is idle this and no block is all it costs. */
struct serve_session {
    struct conn conn;
    struct list link; /* worker's sessions, or its dead ones */
    struct worker *worker;
    struct serve_transaction *transaction;
    char *helo;        /* as said; owned */
    char *client_name; /* of reverse DNS; owned; NULL: none */
    struct fcrdns_query *rdns_query;
    struct loop_timer hold;
    uint64_t since; /* ms, monotonic */
    struct addr peer;
    char sid[SESSION_ID_TEXT];
    unsigned char state, rdns; /* rdns: enum fcrdns_status */
    bool esmtp, trusted, held, skipping, rcpt_refused, dead;
    bool bye; /* QUIT was the last that it sent */
    unsigned short errors, messages;
    unsigned short refused; /* since the last message accepted; reply.c */
};

extern const struct fsm serve_session_fsm;

/* Take over a descriptor. NULL, with the descriptor closed, on failure. */
struct serve_session *serve_session_start(struct worker *w, int fd,
                                          const struct addr *peer);

/* The worker stops: 421 unless a transaction is in hand. */
void serve_session_stop(struct serve_session *s);

/* From the commit: the session of a transaction gets its answer. */
void serve_session_committed(struct serve_transaction *d, enum commit_result r,
                             const struct err *e);

/* At the end of the turn in which it died; when the worker ends. */
void serve_session_free(struct serve_session *s);

/* For actions: feed an event through the table. */
void serve_session_feed(struct serve_session *s, enum serve_session_event ev);
bool serve_session_in_transaction(const struct serve_session *s);
#endif
