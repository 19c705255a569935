/* cli/check_smtp.h - a few commands to another SMTP server, each waited for;
 * for `mta check`. */
#ifndef MTA_CLI_CHECK_SMTP_H
#define MTA_CLI_CHECK_SMTP_H

#include "cli/check.h"
#include "net/conn.h"
#include "net/tls.h"
#include "smtp/ext.h"
#include "smtp/reply.h"

struct check_talk {
    struct checking *k;
    struct conn conn;
    struct conn_env conns;
    struct smtp_reply reply;
    struct smtp_ext ext; /* of the last reply to EHLO */
    bool open, connected, over, secured;
    char why[300]; /* it is over */
};

/* How TLS is spoken. */
struct check_secure {
    struct tls_context *tls;
    const char *host;  /* sent in the handshake, unless it is an address */
    bool any_strength; /* see struct tls_want */
};

/* Connect and read the greeting, behind a handshake where `first` is not NULL
 * (TLS_FIRST_PORT).  0; -1: t->why has the reason.  check_talk_end
 * in both cases. */
int check_talk_begin(struct check_talk *t, struct checking *k,
                     const struct addr *to, const struct check_secure *first);

/* Send a line and read its reply: the code, or -1. */
int check_talk_say(struct check_talk *t, const char *line);

/* EHLO with our hostname; also keeps what is offered. */
int check_talk_hello(struct check_talk *t);

/* Go on in TLS after the reply to STARTTLS; with any certificate. */
int check_talk_secure(struct check_talk *t, const struct check_secure *how);

/* QUIT, without a wait, and close. */
void check_talk_end(struct check_talk *t);
#endif
