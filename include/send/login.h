/* send/login.h - logins at next hops: send.relay_user and send.logins.
 *
 * Of the sender's main thread.  A login is named by its number, as in struct
 * route.  A session gets a copy of one for itself and wipes it. */
#ifndef MTA_SEND_LOGIN_H
#define MTA_SEND_LOGIN_H

#include "config/conf.h"
#include "net/loop.h"
#include "net/tls.h"
#include "smtp/sasl.h"

struct logins;

struct session_login {
    unsigned char number;
    enum conf_tls tls;   /* what it demands of the session */
    unsigned mechanisms; /* that may be used: 1 << enum sasl_mechanism each */
    struct sasl_login sasl;
    size_t size; /* of the whole, with the texts behind it */
    char text[];
};

/* Read the files that the settings name: passwords and tokens.  The error
 * names the setting. */
int logins_check(const struct conf *c, struct err *e);

/* *l is NULL where the settings have no login.  The settings must outlive it;
 * the password in them is not needed any more. */
int logins_open(struct logins **l, const struct conf *c, struct err *e);
void logins_close(struct logins **l); /* accepts NULL; leaves NULL */

/* The files may have changed.  -1 with *e: all stays as it was. */
int logins_renew(struct logins *l, struct err *e);

/* A copy for a session with that host and port.  NULL: no memory, or the secret
 * is not known now. */
struct session_login *session_login_new(const struct logins *l, unsigned number,
                                        const char *host, unsigned port);
void session_login_free(struct session_login **l); /* accepts NULL */

/* Is the host known to be the next hop that the login is for?  The certificate
 * names the host of the setting (hop), or its own host is below that: an MX
 * record alone is no proof.  The chain is not looked at. */
bool login_is_for(const struct conn *c, const char *hop, const char *host);

/* --- tokens that a command prints ---------------------------------------- */

/* The token has come, or none has: then the error has the reason. */
typedef void login_token_fn(void *ctx, const char *error);

/* Call it before logins_ready(). */
void logins_attach(struct logins *l, struct loop *loop, login_token_fn *fn,
                   void *ctx);

/* The process that runs the command (send/token.h) is behind this end of a
 * pair, in place of the one before it. */
void logins_use_pair(struct logins *l, int fd);

/* Is a token being fetched? */
bool logins_busy(const struct logins *l);

/* Has the login its secret?  If not, it is fetched, and fn is called then. */
bool logins_ready(struct logins *l, unsigned number);

/* The host refused the login.  True: its token was not new, and another one is
 * fetched.  The host accepted it. */
bool logins_refused(struct logins *l, unsigned number);
void logins_accepted(struct logins *l, unsigned number);
#endif
