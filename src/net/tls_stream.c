/* tls_stream.c - one TLS connection between memory and memory.
 *
 * OpenSSL reads only whole records, which a BIO of our own gives it, so a
 * record that comes in pieces waits in pool blocks, as other input does, and
 * not in a buffer of OpenSSL's. */
#include "net/conn_private.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SESSION_MAX_AGE = 3600, /* a certificate is judged anew after it */
    STRONG_BITS = 112       /* RSA and DH of 2048 bits, SHA-224 */
};

/* --- records -------------------------------------------------------------- */

/* 0: what begins so is no record, and OpenSSL reports it. */
static size_t record_size(const char *header, size_t n)
{
    const unsigned char *p = (const unsigned char *)header;

    if (n > 0 &&
        (p[0] < SSL3_RT_CHANGE_CIPHER_SPEC || p[0] > SSL3_RT_APPLICATION_DATA))
        return 0;
    if (n < TLS_HEADER)
        return TLS_HEADER;
    size_t size = TLS_HEADER + (size_t)p[3] * 256 + p[4];
    return size > TLS_RECORD_MAX ? 0 : size;
}

/* How many octets of s are whole records. */
static size_t whole_records(struct span s)
{
    size_t at = 0;

    while (s.n - at >= TLS_HEADER) {
        size_t size = record_size(s.p + at, s.n - at);
        if (size == 0)
            return s.n;
        if (size > s.n - at)
            break;
        at += size;
    }
    return at;
}

size_t tls_stream_record(const struct conn_tls *t)
{
    char header[TLS_HEADER];
    size_t n = chain_copy(&t->raw, 0, header, sizeof header);
    size_t size = record_size(header, n);

    return size == 0 ? TLS_HEADER : size;
}

bool tls_stream_has_more(const struct conn_tls *t)
{
    return t->pending || (t->raw.n >= TLS_HEADER && !t->closed &&
                          t->raw.n >= tls_stream_record(t));
}

bool tls_stream_is_data(const struct conn_tls *t, const char *header, size_t n)
{
    /* An alert of TLS 1.3 is disguised as data, but for its length. */
    enum { ALERT = 2 + 1 + 16 };
    const unsigned char *p = (const unsigned char *)header;

    return t->secured && p[0] == SSL3_RT_APPLICATION_DATA &&
           !(n == TLS_HEADER && p[3] == 0 && p[4] == ALERT &&
             t->facts.version_id >= TLS1_3_VERSION);
}

/* --- the wire ------------------------------------------------------------- */

static int wire_read(BIO *bio, char *to, int n)
{
    struct conn_tls *t = BIO_get_data(bio);
    size_t part = (size_t)n < t->rx.n ? (size_t)n : t->rx.n;

    BIO_clear_retry_flags(bio);
    if (part == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, t->rx.p, part);
    t->rx.p += part;
    t->rx.n -= part;
    return (int)part;
}

static int wire_write(BIO *bio, const char *from, int n)
{
    struct conn_tls *t = BIO_get_data(bio);

    size_t done = 0;

    BIO_clear_retry_flags(bio);
    if (t->direct != NULL && t->wire.n == 0)
        done = conn_send(t->direct, from, (size_t)n);
    if (done == (size_t)n)
        return n;
    /* A peer that makes us answer and does not read comes to an end here. */
    if (t->wire.n < 2 * CONN_HIGH &&
        chain_add(&t->wire, t->blocks, from + done, (size_t)n - done))
        return n;
    t->no_blocks = true;
    return -1;
}

static long wire_ctrl(BIO *bio, int what, long l, void *p)
{
    (void)bio, (void)l, (void)p;
    return what == BIO_CTRL_FLUSH;
}

static int wire_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *wire_method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    BIO_METHOD *m =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");

    if (m == NULL)
        return;
    BIO_meth_set_read(m, wire_read);
    BIO_meth_set_write(m, wire_write);
    BIO_meth_set_ctrl(m, wire_ctrl);
    BIO_meth_set_create(m, wire_create);
    wire_method = m;
}

/* --- errors --------------------------------------------------------------- */

/* Empty the queue of this thread.  Most often nothing is in it, and to look is
 * cheaper. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

static const char *phase(const struct conn_tls *t)
{
    return t->secured ? "TLS" : "TLS handshake";
}

void tls_stream_note(struct conn_tls *t, const char *what, int sys)
{
    char room[80];

    if (t->error[0] != '\0')
        return;
    if (what == NULL && strerror_r(sys, room, sizeof room) == 0)
        what = room;
    snprintf(t->error, sizeof t->error, "%s: %s", phase(t),
             what != NULL && what[0] != '\0' ? what : "lost connection");
}

static enum tls_got failed(struct conn_tls *t)
{
    if (t->no_blocks) {
        ERR_clear_error();
        tls_stream_note(t, "no memory for output", 0);
    } else if (ERR_peek_error() == 0) {
        tls_stream_note(t, "broken by the peer", 0);
    } else {
        tls_stream_note(t, tls_reason(), 0);
    }
    ERR_clear_error();
    return TLS_FAILED;
}

/* --- life ----------------------------------------------------------------- */

static int set_want(struct conn_tls *t, const struct tls_want *w)
{
    if (w == NULL)
        return 0;
    if (w->any_strength) { /* RFC 7435: rather than clear text */
        t->any_strength = true;
        SSL_set_security_level(t->ssl, 0);
        SSL_set_options(t->ssl, SSL_OP_LEGACY_SERVER_CONNECT);
    }
    if (w->sni != NULL && SSL_set_tlsext_host_name(t->ssl, w->sni) != 1)
        return -1;
    SSL_SESSION *s = (SSL_SESSION *)w->resume;
    if (s == NULL || !SSL_SESSION_is_resumable(s) ||
        time(NULL) - tls_context_judged(s) >= SESSION_MAX_AGE)
        return 0;
    return SSL_set_session(t->ssl, s) == 1 ? 0 : -1;
}

static int make_ssl(struct conn_tls *t, struct tls_context *context)
{
    BIO *bio;

    pthread_once(&once, make_method);
    t->ssl = SSL_new(tls_context_ssl(context));
    if (t->ssl == NULL || wire_method == NULL)
        return -1;
    bio = BIO_new(wire_method);
    if (bio == NULL)
        return -1;
    BIO_set_data(bio, t);
    SSL_set_bio(t->ssl, bio, bio);
    tls_context_set_stream(t->ssl, t);
    return 0;
}

struct conn_tls *tls_stream_new(struct tls_context *context,
                                const struct tls_want *w, struct pool *blocks,
                                struct err *e)
{
    struct conn_tls *t = calloc(1, sizeof *t);

    ERR_clear_error();
    if (t == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory for TLS");
        return NULL;
    }
    t->blocks = blocks;
    t->server = tls_context_is_server(context);
    if (make_ssl(t, context) != 0 || set_want(t, w) != 0) {
        err_set(e, ERR_TEMP, 0, "start TLS: %s", tls_reason());
        tls_stream_free(&t);
        return NULL;
    }
    if (t->server) {
        SSL_set_accept_state(t->ssl);
        return t;
    }
    SSL_set_connect_state(t->ssl);
    int done = SSL_do_handshake(t->ssl); /* the first record */
    if (SSL_get_error(t->ssl, done) != SSL_ERROR_WANT_READ) {
        failed(t);
        err_set(e, ERR_TEMP, 0, "%s", t->error);
        tls_stream_free(&t);
    }
    return t;
}

void tls_stream_free(struct conn_tls **pt)
{
    struct conn_tls *t = *pt;

    *pt = NULL;
    if (t == NULL)
        return;
    chain_clear(&t->raw, t->blocks);
    chain_clear(&t->wire, t->blocks);
    SSL_SESSION_free(t->session);
    if (t->ssl != NULL && t->error[0] == '\0')
        /* As for SMTP the dot and QUIT are the ends, a connection that is cut
         * leaves a session that may be resumed. */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    free(t);
}

/* --- handshake ------------------------------------------------------------ */

static bool is_weak_key(const EVP_PKEY *key)
{
    return key != NULL && EVP_PKEY_get_security_bits(key) < STRONG_BITS;
}

/* The signature of a root is not looked at. */
static bool has_weak_chain(const SSL *ssl)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    int n = sk_X509_num(chain), bits;

    for (int i = 0; i < n; i++) {
        X509 *x = sk_X509_value(chain, i);
        if (is_weak_key(X509_get0_pubkey(x)))
            return true;
        if (i + 1 < n && X509_get_signature_info(x, NULL, NULL, &bits, NULL) &&
            bits < STRONG_BITS)
            return true;
    }
    return false;
}

/* Would the security level of OpenSSL's settings have refused it? */
static bool is_weak(SSL *ssl)
{
    EVP_PKEY *key = NULL;
    int digest = NID_undef;

    bool weak = SSL_get_peer_tmp_key(ssl, &key) == 1 && is_weak_key(key);
    EVP_PKEY_free(key);
    weak |= SSL_get_peer_signature_nid(ssl, &digest) == 1 &&
            (digest == NID_sha1 || digest == NID_md5_sha1);
    weak |= SSL_version(ssl) < TLS1_3_VERSION &&
            SSL_get_secure_renegotiation_support(ssl) != 1;
    return weak || SSL_get_cipher_bits(ssl, NULL) < STRONG_BITS ||
           has_weak_chain(ssl);
}

static void note_facts(struct conn_tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);
    struct tls_facts *f = &t->facts;

    f->version = SSL_get_version(t->ssl);
    f->version_id = (unsigned short)SSL_version(t->ssl);
    f->cipher = SSL_CIPHER_get_name(cipher);
    f->cipher_id = SSL_CIPHER_get_protocol_id(cipher);
    f->bits = SSL_CIPHER_get_bits(cipher, &f->of_bits);
    f->resumed = SSL_session_reused(t->ssl);
    if (t->server) {
        f->why = "not asked for a certificate";
        return;
    }
    long verdict = SSL_get_verify_result(t->ssl);
    f->chain_good =
        verdict == X509_V_OK && SSL_get0_peer_certificate(t->ssl) != NULL;
    if (verdict != X509_V_OK)
        f->why = X509_verify_cert_error_string(verdict);
    else if (!f->chain_good)
        f->why = "no certificate";
    f->weak = t->any_strength && is_weak(t->ssl);
}

static enum tls_got shake_hands(struct conn_tls *t)
{
    int done = SSL_do_handshake(t->ssl);

    if (done != 1)
        return SSL_get_error(t->ssl, done) == SSL_ERROR_WANT_READ ? TLS_GOT
                                                                  : failed(t);
    t->secured = true;
    note_facts(t);
    t->tickets = t->server && t->facts.version_id >= TLS1_3_VERSION;
    return TLS_SECURED;
}

/* --- input ---------------------------------------------------------------- */

/* One SSL_read(); TLS_SECURED means that it wants more from the wire. */
static enum tls_got read_plain(struct conn_tls *t, char *to, size_t room,
                               size_t *n)
{
    int got = SSL_read(t->ssl, to, room > INT_MAX ? INT_MAX : (int)room);

    if (got > 0) {
        *n = (size_t)got;
        t->pending = (size_t)got == room && SSL_pending(t->ssl) > 0;
        return TLS_GOT;
    }
    *n = 0;
    t->pending = false;
    switch (SSL_get_error(t->ssl, got)) {
    case SSL_ERROR_WANT_READ: return TLS_GOT;
    case SSL_ERROR_ZERO_RETURN: t->closed = true; return TLS_CLOSED;
    default: return failed(t);
    }
}

enum tls_got tls_stream_open(struct conn_tls *t, struct span *from, char *to,
                             size_t room, size_t *n)
{
    size_t whole = whole_records(*from);
    enum tls_got got = t->closed ? TLS_CLOSED : TLS_GOT;

    *n = 0;
    t->rx = (struct span){ from->p, whole };
    forget_errors();
    while (got == TLS_GOT && *n < room && (t->pending || t->rx.n > 0)) {
        size_t part = 0;
        got = t->secured ? read_plain(t, to + *n, room - *n, &part)
                         : shake_hands(t);
        *n += part;
    }
    from->p += whole - t->rx.n;
    from->n -= whole - t->rx.n;
    t->rx = (struct span){ NULL, 0 };
    return got;
}

/* --- output --------------------------------------------------------------- */

int tls_stream_seal(struct conn_tls *t, struct chain *plain, char *room)
{
    size_t n = chain_copy(plain, 0, room, TLS_PLAIN_MAX);

    chain_drop(plain, t->blocks, n); /* the record may need its blocks */
    t->tickets = false;
    forget_errors();
    if (SSL_write(t->ssl, room, (int)n) == (int)n)
        return 0;
    failed(t);
    return -1;
}

void tls_stream_end(struct conn_tls *t)
{
    if (!t->secured || t->ended || t->error[0] != '\0')
        return;
    t->ended = true;
    t->tickets = false;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl); /* 0: the peer's is still to come */
    ERR_clear_error();
}

/* --- for owners ----------------------------------------------------------- */

bool conn_is_tls(const struct conn *c)
{
    return c->tls != NULL;
}

const struct tls_facts *conn_tls_facts(const struct conn *c)
{
    return c->tls != NULL && c->tls->secured ? &c->tls->facts : NULL;
}

const char *conn_tls_error(const struct conn *c)
{
    return c->tls == NULL ? NULL : c->tls->error;
}

static bool is_address(const char *name)
{
    unsigned char octets[16];

    return name[0] == '[' || inet_pton(AF_INET, name, octets) == 1 ||
           inet_pton(AF_INET6, name, octets) == 1;
}

bool conn_tls_names(const struct conn *c, const char *name)
{
    const struct tls_facts *f = conn_tls_facts(c);
    size_t n = strlen(name);

    if (n > 0 && name[n - 1] == '.')
        n--;
    /* X509_check_host() takes a dot in front for "any below". */
    if (f == NULL || !f->chain_good || n == 0 || name[0] == '.' ||
        is_address(name))
        return false;
    return X509_check_host(SSL_get0_peer_certificate(c->tls->ssl), name, n,
                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

struct tls_session *conn_tls_take_session(struct conn *c)
{
    SSL_SESSION *s = c->tls == NULL ? NULL : c->tls->session;

    if (s != NULL)
        c->tls->session = NULL;
    return (struct tls_session *)s;
}

void tls_session_free(struct tls_session **s)
{
    SSL_SESSION_free((SSL_SESSION *)*s);
    *s = NULL;
}

const char *tls_version_name(unsigned short id)
{
    switch (id) {
    case TLS1_2_VERSION: return "TLSv1.2";
    case TLS1_3_VERSION: return "TLSv1.3";
    default: return NULL;
    }
}

const char *tls_cipher_name(unsigned short id)
{
    /* The table of ciphers is reached through a session only.  A session takes
     * a context, 100 us: one is made for all calls, and never freed. */
    static SSL *any;
    unsigned char wire[2] = { (unsigned char)(id >> 8), (unsigned char)id };
    const SSL_CIPHER *cipher;

    if (any == NULL) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());

        any = ctx == NULL ? NULL : SSL_new(ctx);
        SSL_CTX_free(ctx);
    }
    cipher = any == NULL ? NULL : SSL_CIPHER_find(any, wire);
    ERR_clear_error();
    return cipher == NULL ? NULL : SSL_CIPHER_get_name(cipher);
}
