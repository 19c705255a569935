/* send/session_auth.h - the login of a session (RFC 4954).  For
 * src/send/session*.c and transaction.c. */
#ifndef MTA_SEND_SESSION_AUTH_H
#define MTA_SEND_SESSION_AUTH_H

#include "send/session_private.h"

/* Is the session for mail with this login?  Credentials and mail of one login
 * never share a session with others. */
bool send_auth_fits(const struct send_session *s,
                    const struct delivery_rcpt *r);

/* Is the host known to be the next hop that the login is for?  Where that must
 * be verified, the certificate names the host of the setting, or its own host
 * is below that: an MX record alone is no proof. */
bool send_auth_is_host(const struct send_session *s);

/* The login was refused, or failed; is it that of this mail? */
bool send_auth_ended(const struct send_session *s);
bool send_auth_failed(const struct send_session *s,
                      const struct delivery_rcpt *r);
/* The answer of its mail. */
void send_auth_set_reason(const struct send_session *s,
                          const struct fault_rule *rule, struct answer *why);

/* "SCRAM-SHA-256"; NULL: the session has no login. */
const char *send_auth_text(const struct send_session *s);

/* Wipe all of it. */
void send_auth_end(struct send_session *s);
#endif
