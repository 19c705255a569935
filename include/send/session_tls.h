/* send/session_tls.h - TLS of a session.  For src/send/session*.c and
 * transaction.c. */
#ifndef MTA_SEND_SESSION_TLS_H
#define MTA_SEND_SESSION_TLS_H

#include "send/session_private.h"

/* Does TLS begin before the greeting, as the port has it? */
bool send_tls_is_first(const struct send_session *s);

/* Is the session as its policy (send.tls) demands?  Asked before its MAIL. */
bool send_tls_fits(const struct send_session *s, const struct delivery *j,
                   const struct delivery_rcpt *r);

/* It does not fit: another session may, or the host is not what it demands. */
void send_tls_refuse(struct send_session *s, const struct delivery *j,
                     struct delivery_rcpt *r);

/* TLS failed as it would in a session of its own, and clear text will not do.
 */
bool send_tls_shuts_out(const struct send_session *s, const struct delivery *j,
                        const struct delivery_rcpt *r);

/* "none", or "TLSv1.3/TLS_AES_256_GCM_SHA384"; the same into the delivery. */
enum { SEND_TLS_TEXT = 80 };
void send_tls_text(char out[SEND_TLS_TEXT], const struct send_session *s);
void send_tls_note(struct send_session *s, struct delivery *j);

/* Before the end: what the next session of the host can resume. */
void send_tls_keep_session(struct send_session *s);
#endif
