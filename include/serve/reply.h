/* serve/reply.h - the server's replies: all codes and texts in one table.
 *
 * The only place that writes to a client and logs a refusal. */
#ifndef MTA_SERVE_REPLY_H
#define MTA_SERVE_REPLY_H

#include "policy/verdict.h"

#include <stdbool.h>

struct serve_session;

enum serve_reply {
    REPLY_BANNER,
    REPLY_HELO,
    REPLY_OK,
    REPLY_HELP,
    REPLY_BYE,
    REPLY_SENDER_OK,
    REPLY_RCPT_OK,
    REPLY_GO_AHEAD,
    REPLY_START_TLS,
    REPLY_QUEUED,
    /* about commands */
    REPLY_BAD_HELO,
    REPLY_HELO_FIRST,
    REPLY_NO_VRFY,
    REPLY_OFF,
    REPLY_UNKNOWN,
    REPLY_GARBLED,
    REPLY_BARE_LF,
    REPLY_NOT_SMTP,
    REPLY_EARLY,
    REPLY_NEED_MAIL,
    REPLY_NEED_RCPT,
    REPLY_NESTED_MAIL,
    REPLY_NO_VALID_RCPT,
    REPLY_STARTTLS_SYNTAX,
    REPLY_TLS_ACTIVE,
    REPLY_TLS_IN_MAIL,
    REPLY_NO_TLS,
    REPLY_DATA_SYNTAX,
    /* about the client and the session */
    REPLY_TOO_MANY_CLIENTS,
    REPLY_TOO_MANY_OF_CLIENT,
    REPLY_TIMEOUT,
    REPLY_SLOW,
    REPLY_STOPPING,
    REPLY_TOO_MANY_ERRORS,
    REPLY_TOO_MANY_UNKNOWN,
    /* verdicts about MAIL and RCPT */
    REPLY_MAIL_SYNTAX,
    REPLY_RCPT_SYNTAX,
    REPLY_PARAM_SYNTAX,
    REPLY_PARAM_TWICE,
    REPLY_PARAM_UNKNOWN,
    REPLY_BODY_SYNTAX,
    REPLY_SIZE_SYNTAX,
    REPLY_RET_SYNTAX,
    REPLY_ENVID_SYNTAX,
    REPLY_NOTIFY_SYNTAX,
    REPLY_ORCPT_SYNTAX,
    REPLY_BAD_SENDER,
    REPLY_BAD_RCPT,
    REPLY_NEED_UTF8,
    REPLY_TOO_BIG,
    REPLY_NO_ROOM,
    REPLY_TOO_MANY_RCPT,
    REPLY_UNKNOWN_USER,
    REPLY_UNKNOWN_RELAY,
    REPLY_ALIAS_LOOP,
    REPLY_LOOKUP_FAILED,
    REPLY_OVER_QUOTA,
    REPLY_RELAY_DENIED,
    /* verdicts about the text */
    REPLY_TOO_MANY_HOPS,
    REPLY_NUL_DOT,
    REPLY_BARE_NEWLINE,
    REPLY_UNSTORED,
    REPLY_COUNT
};

/* `arg` takes the place of %s in the text; NULL where there is none. */
void serve_reply(struct serve_session *s, enum serve_reply r, const char *arg);

/* Reply to EHLO: the name of this host and the extensions. */
void serve_reply_extensions(struct serve_session *s);

/* Reply to a client that gets no session, and close. */
void serve_reply_close(int fd, enum serve_reply r);

/* The verdict that leads to this reply. */
struct verdict serve_reject(enum serve_reply r);

/* Refuse: send the reply and log serve.reject.  `what` is the command or
 * address refused.  Refusals are counted: serve_refused_enough() is true when a
 * client outside the relay networks has so many that it guesses addresses or
 * fills the log. */
void serve_refuse(struct serve_session *s, const struct verdict *v,
                  const char *what);
bool serve_refused_enough(const struct serve_session *s);
#endif
