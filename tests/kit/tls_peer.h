/* tls_peer.h - the other end of a session that is played over TLS, and a
 * certificate of mx.test for the session's end. */
#ifndef MTA_TESTS_TLS_PEER_H
#define MTA_TESTS_TLS_PEER_H

#include "net/tls.h"

extern const char tls_peer_cert[], tls_peer_key[];

struct tls_peer;

/* The server's context with that certificate. */
struct tls_context *tls_peer_server(void);

/* Take over fd, on which TLS begins. */
struct tls_peer *tls_peer_new(struct loop *loop, int fd);
void tls_peer_free(struct tls_peer **t); /* accepts NULL */

/* After turns of the loop: is the handshake over, is the connection? */
bool tls_peer_is_secured(const struct tls_peer *t);
bool tls_peer_is_over(const struct tls_peer *t);

void tls_peer_send(struct tls_peer *t, const char *text);
void tls_peer_flush(struct tls_peer *t);

/* Text that has arrived, at most `room` octets; returns its length. */
size_t tls_peer_take(struct tls_peer *t, char *to, size_t room);
#endif
