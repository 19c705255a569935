/* net/tls.h - TLS inside a conn, for both roles.  See net/conn.h: the owner
 * keeps reading and writing plain octets.
 *
 * A context holds what many connections share: certificates, trusted CAs,
 * ciphers, ticket keys.  A client's context may be shared by threads once it is
 * made; a session belongs to one thread.  TLS 1.2 and newer; no renegotiation,
 * no compression. */
#ifndef MTA_NET_TLS_H
#define MTA_NET_TLS_H

#include "base/err.h"
#include "base/span.h"
#include "net/conn.h"

#include <stdbool.h>
#include <stddef.h>

struct tls_context;
struct tls_session; /* of a server, for resumption */

/* --- contexts ------------------------------------------------------------- */

/* No chain is good yet. */
int tls_client_new(struct tls_context **t, struct err *e);

/* Trust the CAs of a file; NULL: those of $SSL_CERT_FILE, else those of the
 * system, if it has any.  All is read here, nothing later.  -1 with *e: still
 * no chain is good, and everything else works. */
int tls_client_trust(struct tls_context *t, const char *ca_file, struct err *e);

/* A PEM certificate with its chain, and its key; only read here.  The names
 * are for errors. */
struct tls_pair {
    struct span cert, key;
    const char *cert_name, *key_name;
};

/* The pair whose certificate has the name that the client asks for, the first
 * without one; of several kinds of key for one name the one that the client can
 * use.  Without `tickets` no session is ever resumed. */
int tls_server_new(struct tls_context **t, const struct tls_pair *pairs,
                   size_t n, bool tickets, struct err *e);

/* Keys for tickets, which all workers of a service must share: the first
 * encrypts, all decrypt.  `octets` is a multiple of TLS_TICKET_KEY, at most
 * TLS_TICKET_KEYS of them; they may be set anew at any time.  A context without
 * makes one of its own at its start. */
enum { TLS_TICKET_KEY = 80, TLS_TICKET_KEYS = 3 };
void tls_server_ticket_keys(struct tls_context *t, const unsigned char *keys,
                            size_t octets);

/* Connections of it may go on.  Accepts NULL; leaves NULL. */
void tls_context_free(struct tls_context **t);

/* --- a conn --------------------------------------------------------------- */

struct tls_want { /* of a client; NULL is nothing of it */
    const char *sni;
    struct tls_session *resume; /* stays the caller's */
    bool any_strength; /* else only what OpenSSL takes by its settings */
};

/* Go on in TLS: the server's context makes it the server.  Output queued before
 * leaves in clear, output from now on when the handshake is over.  Input in
 * clear that was not consumed is thrown away.  CONN_SECURED follows, or
 * CONN_FAILED, CONN_EOF never; a pause does not stop the handshake, the
 * deadline bounds it.  The handshake of a client never fails for a
 * certificate: its owner looks at the facts before it sends anything. */
int conn_start_tls(struct conn *c, struct tls_context *t,
                   const struct tls_want *w, struct err *e);
bool conn_is_tls(const struct conn *c);

struct tls_facts {
    const char *version, *cipher; /* "TLSv1.3", OpenSSL's name; never freed */
    unsigned short version_id, cipher_id; /* as on the wire */
    int bits, of_bits;                    /* of the key in use, of the cipher */
    bool resumed;
    bool chain_good; /* a client's: up to a trusted CA, in its time */
    const char *why; /* chain not good: OpenSSL's reason; never freed */
    bool weak;       /* of any strength, and it is below 112 bits */
};

/* From CONN_SECURED until conn_close(), else NULL. */
const struct tls_facts *conn_tls_facts(const struct conn *c);

/* Is the chain good and does the server's certificate have this DNS name
 * (RFC 6125; a wildcard stands for one whole label)? */
bool conn_tls_names(const struct conn *c, const char *name);

/* Why a conn in TLS got CONN_FAILED, until conn_close(): never empty.  NULL for
 * one in clear, which has only conn->error. */
const char *conn_tls_error(const struct conn *c);

/* The newest session that the server gave, or NULL; take it at the end of a
 * connection, as tickets come late.  Use it for the same host, SNI name and
 * context. */
struct tls_session *conn_tls_take_session(struct conn *c);
void tls_session_free(struct tls_session **s); /* accepts NULL; leaves NULL */

/* --- names ---------------------------------------------------------------- */

/* Of ids, as facts have them; NULL for one that is not known. */
const char *tls_version_name(unsigned short id);
const char *tls_cipher_name(unsigned short id);
#endif
