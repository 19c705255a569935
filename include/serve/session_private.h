/* serve/session_private.h - the inside of a session, for src/serve/session*.c,
 * mail_rcpt.c, data.c and reply.c alone. */
#ifndef MTA_SERVE_SESSION_PRIVATE_H
#define MTA_SERVE_SESSION_PRIVATE_H

#include "serve/session.h"

enum serve_session_state {
    S_CONNECTED, /* no banner yet */
    S_HANDSHAKE, /* of TLS: before the banner, or after STARTTLS */
    S_GREETED,   /* banner sent, no HELO yet */
    S_READY,     /* between transactions */
    S_MAIL,      /* MAIL accepted, no recipient yet */
    S_RCPT,      /* at least one recipient */
    S_DATA,      /* receiving the text */
    S_CHECK,     /* dot received; checks of the whole message */
    S_COMMIT,    /* waits for the commit */
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
    E_STARTTLS,
    E_OFF,      /* a known command that is disabled */
    E_UNKNOWN,  /* no such command */
    E_GARBLED,  /* not a command: NUL, bare CR, too long */
    E_BARE_LF,  /* a line that ends in a bare LF */
    E_EARLY,    /* octets sent before the client may */
    E_ANSWERED, /* a check that waited may run again */
    E_TIMEOUT,
    E_HANGUP, /* the client is gone */
    E_STOP,   /* this server stops */
    E_NOUTSIDE,
    /* posted by the session itself: start, actions, text, commit */
    E_CONNECT = E_NOUTSIDE, /* the first of a session */
    E_SECURED,              /* the handshake is over; TLS from now on */
    E_UNSECURED,            /* it failed, as env->tls_error has it */
    E_CLIENT_OK,
    E_HELO_OK,
    E_SENDER_OK,
    E_RCPT_OK,
    E_DATA_OK,
    E_OPENED, /* the transaction has an id and accepts text */
    E_DOT,
    E_TEXT_OK,
    E_WAIT,    /* a check waits for a query */
    E_REFUSED, /* as s->verdict has it */
    E_QUEUED,
    E_UNSTORED,
    E_ENOUGH, /* errors or refusals */
    E_NEVENTS
};

/* All the memory of an idle session: it holds no block. */
struct serve_session {
    struct conn conn;
    struct list link;
    struct list asking; /* in that of env, while its user is looked up */
    struct serve_env *env;
    struct serve_transaction *transaction;
    struct policy policy;
    struct verdict verdict;  /* of the check just made */
    struct loop_timer delay; /* of a reply about an unknown recipient */
    char *helo;              /* argument of HELO; owned */
    uint64_t since;          /* ms, monotonic */
    struct addr peer;
    char sid[SESSION_ID_TEXT];
    unsigned char state;
    bool esmtp, trusted, skipping, rcpt_refused, dead;
    bool unlogged;  /* its connect: so far it is a probe of this host */
    bool tls_first; /* the role of its listener: TLS before the banner */
    bool greeted;   /* the banner was sent */
    bool held;      /* the command stays unread until a check can decide */
    bool delayed;   /* the delay before this reply is over */
    bool fed;       /* an event was fed since the last input: a whole line */
    bool bye;       /* QUIT was the last command, with nothing behind it */
    unsigned short errors, messages;
    unsigned short refused; /* since the last message accepted; reply.c */
};

/* session.c */
void serve_session_log_connect(struct serve_session *s); /* if it is not yet */
void serve_session_delay(struct serve_session *s, unsigned ms);
/* The verdict of a look-up that waits for serve_env_answered(). */
struct verdict serve_session_ask_later(struct serve_session *s);
bool serve_session_is_slow(const struct serve_session *s); /* its text */

bool serve_session_offers_tls(const struct serve_session *s); /* STARTTLS */
bool serve_session_offers_dsn(const struct serve_session *s);
/* Is the command, beyond the minimum, answered? */
bool serve_session_has_extra(const struct serve_session *s, enum smtp_verb v);

/* early_talk.c: input that the client may not have sent yet. */
bool serve_early_before_banner(struct serve_session *s);
bool serve_early_behind(const struct serve_session *s, enum smtp_verb verb);

/* mail_rcpt.c: all checks before the reply to MAIL, RCPT; after a pass the
 * transaction has the sender, the recipient. */
struct verdict serve_mail_check(struct serve_session *s);
struct verdict serve_rcpt_check(struct serve_session *s);

/* data.c: the transaction gets its id and accepts text; false: it cannot be
 * stored.  At the dot: faults of the text, then the policy. */
bool serve_data_open(struct serve_session *s);
struct verdict serve_data_check(struct serve_session *s);
#endif
