/* smtp/sasl.h - the client's side of SASL (RFC 4422) as AUTH carries it
 * (RFC 4954): one exchange.
 *
 * Pure: text in, text out.  Challenges and responses are in base64, as on the
 * wire.  An exchange belongs to one thread; the login that it was begun with
 * stays the caller's and must outlive it.  Its octets are secrets: the caller
 * ends it with sasl_end(), and wipes the responses.
 *
 * A server proves with SCRAM that it has the password, too: its signature is
 * verified, and success without one is refused.  User and password are sent
 * as they are written (no SASLprep), which is the same for ASCII. */
#ifndef MTA_SMTP_SASL_H
#define MTA_SMTP_SASL_H

#include "base/buf.h"
#include "base/digest_hmac.h"
#include "base/err.h"

/* Best first, of those that take the same kind of secret. */
enum sasl_mechanism {
    SASL_SCRAM_SHA_256, /* RFC 5802, RFC 7677 */
    SASL_PLAIN,         /* RFC 4616 */
    SASL_LOGIN,         /* draft-murchison-sasl-login-00 */
    SASL_OAUTHBEARER,   /* RFC 7628 */
    SASL_XOAUTH2,       /* Google's and Microsoft's predecessor of it */
    SASL_MECHANISMS,
    SASL_NONE = SASL_MECHANISMS
};

enum {
    SASL_USER_MAX = 256,
    SASL_PASSWORD_MAX = 1024,
    SASL_TOKEN_MAX = 16384,
    SASL_CHALLENGE_MAX = 1536, /* octets in base64; longer ones are refused */
    SASL_LINE_MAX = 12288,     /* of a response (RFC 4954 4), with CRLF */
    SASL_NONCE = 24,           /* characters */
    SASL_ROUNDS_MIN = 4096,    /* RFC 7677 4 */
    SASL_ROUNDS_MAX = 600000   /* of PBKDF2; the host chooses them */
};

struct sasl_login {
    struct span user, secret; /* the password, or a token */
    struct span host;         /* that of the session, for OAUTHBEARER */
    unsigned port;
};

struct sasl {
    const struct sasl_login *login;
    enum sasl_mechanism mechanism;
    unsigned step;
    bool proven;      /* SCRAM: the server's signature was right */
    char denial[256]; /* words of the server's in an error challenge, or "" */
    char nonce[SASL_NONCE + 1];
    char bare[2 * SASL_USER_MAX * 3]; /* SCRAM's client-first-message-bare */
    unsigned char server_signature[32];
    bool busy; /* SCRAM: the password is being salted */
    struct pbkdf2 salted;
    char first[SASL_CHALLENGE_MAX]; /* SCRAM's server-first-message */
    size_t first_n;
};

const char *sasl_name(enum sasl_mechanism m); /* as in AUTH */
bool sasl_takes_token(enum sasl_mechanism m);

/* The best mechanism of those in `allowed` (a bit 1 << m each) and in the
 * words of the server's AUTH keyword; SASL_NONE: there is none. */
enum sasl_mechanism sasl_choose(struct span offered, unsigned allowed);

/* Begin an exchange.  The random octets become the nonce. */
void sasl_begin(struct sasl *s, enum sasl_mechanism m,
                const struct sasl_login *login,
                const unsigned char random[SASL_NONCE * 3 / 4]);

/* May the first response go with the command?  Then it is that to the empty
 * challenge. */
bool sasl_speaks_first(const struct sasl *s);

/* Append the response to a challenge.  1: it takes longer, and sasl_go_on()
 * appends it, in slices of about a millisecond.  -1 with *e: ERR_PROTO for a
 * server that breaks the mechanism or cannot prove itself, ERR_PERM for a login
 * that it cannot carry; the exchange is then to be cancelled ("*"). */
int sasl_respond(struct sasl *s, struct span challenge, struct buf *response,
                 struct err *e);

/* As above, when 1 was returned; no challenge is due meanwhile. */
int sasl_go_on(struct sasl *s, struct buf *response, struct err *e);

/* The server reported success: may it be believed? */
int sasl_succeed(const struct sasl *s, struct err *e);

/* Wipe it. */
void sasl_end(struct sasl *s);
#endif
