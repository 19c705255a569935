/* tls_context.c - contexts: certificates, trusted CAs, ciphers, tickets. */
#include "net/tls_private.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* AES-128 first: as strong as it must be, and its SHA-256 makes handshakes
 * cheaper. */
#define SUITES                                                                 \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"                           \
    "TLS_CHACHA20_POLY1305_SHA256"
/* Of TLS 1.2, for the server. */
#define CIPHERS "ECDHE+AES128+AESGCM:ECDHE+AES256+AESGCM:ECDHE+CHACHA20:!aNULL"
#define SERVER_GROUPS "X25519:P-256:P-384"
#define CLIENT_GROUPS SERVER_GROUPS ":P-521"

/* Where distributions keep the CAs in one file, if not where OpenSSL was built
 * to look. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
};

/* A certificate of the server, and the SSL_CTX that has it. */
struct owner {
    X509 *leaf;
    int key_type;
    size_t ctx;
};

struct ticket_key {
    unsigned char name[16], mac[32], cipher[32];
};

/* It lives as long as ctx[0], which its connections hold. */
struct tls_context {
    SSL_CTX **ctx; /* of a server: one for certificates of different names */
    size_t nctx;
    struct owner *owners;
    size_t nowners;
    bool server;
    struct ticket_key keys[TLS_TICKET_KEYS];
    size_t nkeys;
    EVP_CIPHER *ticket_cipher;
};

/* --- errors --------------------------------------------------------------- */

const char *tls_reason(void)
{
    enum { OWN_REASON = 100 }; /* of a library; below: "X lib" */
    unsigned long code, best = 0;
    const char *text;

    while ((code = ERR_get_error()) != 0)
        if (best == 0 || (ERR_GET_LIB(code) == ERR_LIB_SSL &&
                          ERR_GET_REASON(code) >= OWN_REASON))
            best = code;
    text = ERR_reason_error_string(best);
    if (text == NULL)
        text = best == 0 ? "unknown reason" : "reason without a name";
    return text;
}

static int no_memory(struct err *e)
{
    ERR_clear_error();
    return err_set(e, ERR_TEMP, 0, "no memory for TLS");
}

/* --- life ----------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int context_index = -1, stream_index = -1, judged_index = -1;

static void free_parts(struct tls_context *t)
{
    for (size_t i = 1; i < t->nctx; i++) {
        /* The last connection drops ctx[0] first, and has this one yet. */
        (void)SSL_CTX_set_ex_data(t->ctx[i], context_index, NULL);
        SSL_CTX_free(t->ctx[i]);
    }
    for (size_t i = 0; i < t->nowners; i++)
        X509_free(t->owners[i].leaf);
    EVP_CIPHER_free(t->ticket_cipher);
    OPENSSL_cleanse(t->keys, sizeof t->keys);
    free(t->ctx);
    free(t->owners);
    free(t);
}

/* ctx[0] goes with the last connection of it. */
static void on_ctx_freed(void *ctx, void *ours, CRYPTO_EX_DATA *data, int index,
                         long l, void *p)
{
    struct tls_context *t = ours;

    (void)data, (void)index, (void)l, (void)p;
    if (t != NULL && t->ctx[0] == ctx)
        free_parts(t);
}

static void set_up(void)
{
    tls_memory_reserve();
    context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_ctx_freed);
    stream_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    judged_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* With room for n SSL_CTX; it has the first one. */
static struct tls_context *context_new(bool server, size_t n)
{
    struct tls_context *t = calloc(1, sizeof *t);

    pthread_once(&once, set_up);
    if (t == NULL || context_index < 0 || stream_index < 0 ||
        judged_index < 0) {
        free(t);
        return NULL;
    }
    t->server = server;
    t->ctx = calloc(n, sizeof(SSL_CTX *));
    t->owners = calloc(n, sizeof *t->owners);
    return t;
}

void tls_context_free(struct tls_context **t)
{
    struct tls_context *old = *t;

    *t = NULL;
    if (old == NULL)
        return;
    if (old->nctx == 0)
        free_parts(old);
    else
        SSL_CTX_free(old->ctx[0]);
}

struct ssl_ctx_st *tls_context_ssl(const struct tls_context *t)
{
    return t->ctx[0];
}

bool tls_context_is_server(const struct tls_context *t)
{
    return t->server;
}

/* What both roles share.  NULL: see tls_reason(). */
static SSL_CTX *add_ctx(struct tls_context *t)
{
    SSL_CTX *ctx =
        SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());

    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, SUITES) != 1 ||
        SSL_CTX_set_ex_data(ctx, context_index, t) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    t->ctx[t->nctx++] = ctx;
    return ctx;
}

/* --- client --------------------------------------------------------------- */

void tls_context_set_stream(struct ssl_st *ssl, struct conn_tls *t)
{
    (void)SSL_set_ex_data(ssl, stream_index, t);
}

/* The time is the pointer: nothing to free. */
static void set_judged(SSL_SESSION *s, time_t when)
{
    (void)SSL_SESSION_set_ex_data(s, judged_index, (void *)(intptr_t)when);
}

time_t tls_context_judged(const struct ssl_session_st *s)
{
    return (time_t)(intptr_t)SSL_SESSION_get_ex_data(s, judged_index);
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct conn_tls *t = SSL_get_ex_data(ssl, stream_index);

    if (t == NULL)
        return 0;
    if (!SSL_session_reused(ssl)) /* else it has the time of the first one */
        set_judged(session, time(NULL));
    SSL_SESSION_free(t->session);
    t->session = session;
    return 1; /* its reference is taken */
}

static const char *system_cas(void)
{
    const char *file = X509_get_default_cert_file();

    for (size_t i = 0; access(file, R_OK) != 0; i++) {
        if (i == sizeof bundles / sizeof bundles[0])
            return NULL;
        file = bundles[i];
    }
    return file;
}

/* origin: what names the file. */
static int load_cas(SSL_CTX *ctx, const char *file, const char *origin,
                    struct err *e)
{
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(ctx, file) == 1)
        return 0;
    unsigned long first = ERR_peek_error();
    int sys = ERR_SYSTEM_ERROR(first) ? ERR_GET_REASON(first) : 0;
    const char *why = tls_reason();
    if (sys != 0)
        return err_set(e, ERR_PERM, sys, "read CA certificates from %s%s", file,
                       origin);
    return err_set(e, ERR_PERM, 0, "read CA certificates from %s%s: %s", file,
                   origin, why);
}

int tls_client_trust(struct tls_context *t, const char *ca_file, struct err *e)
{
    const char *named = getenv(X509_get_default_cert_file_env());

    if (ca_file != NULL) {
        /* A certificate that the operator names is trusted, whatever issued
         * it. */
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(t->ctx[0]),
                                    X509_V_FLAG_PARTIAL_CHAIN);
        return load_cas(t->ctx[0], ca_file, "", e);
    }
    if (named != NULL && named[0] != '\0')
        return load_cas(t->ctx[0], named, " (SSL_CERT_FILE)", e);
    named = system_cas();
    return named == NULL ? 0 : load_cas(t->ctx[0], named, "", e);
}

int tls_client_new(struct tls_context **t, struct err *e)
{
    *t = context_new(false, 1);
    if (*t == NULL || (*t)->ctx == NULL || add_ctx(*t) == NULL) {
        tls_context_free(t);
        return no_memory(e);
    }
    SSL_CTX *ctx = (*t)->ctx[0];
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT |
                                            SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (SSL_CTX_set1_groups_list(ctx, CLIENT_GROUPS) == 1)
        return 0;
    tls_context_free(t);
    return no_memory(e);
}

/* --- server: certificates ------------------------------------------------- */

/* Never ask the terminal for the password of a key. */
static int no_password(char *buf, int size, int writing, void *ours)
{
    (void)buf, (void)size, (void)writing, (void)ours;
    return -1;
}

/* A chain, the leaf first. */
static STACK_OF(X509) * read_chain(const struct tls_pair *pair, struct err *e)
{
    BIO *in = BIO_new_mem_buf(pair->cert.p, (int)pair->cert.n);
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *x;
    unsigned long why;

    ERR_clear_error();
    while (in != NULL && chain != NULL &&
           (x = PEM_read_bio_X509(in, NULL, no_password, NULL)) != NULL)
        if (sk_X509_push(chain, x) == 0) {
            X509_free(x);
            break;
        }
    BIO_free(in);
    why = ERR_peek_last_error();
    if (chain != NULL && sk_X509_num(chain) > 0 &&
        ERR_GET_REASON(why) == PEM_R_NO_START_LINE) {
        ERR_clear_error(); /* the end of the file */
        return chain;
    }
    if (ERR_GET_REASON(why) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        err_set(e, ERR_USAGE, 0, "no certificate in %s", pair->cert_name);
    } else {
        err_set(e, ERR_USAGE, 0, "read the certificate %s: %s", pair->cert_name,
                tls_reason());
    }
    sk_X509_pop_free(chain, X509_free);
    return NULL;
}

static EVP_PKEY *read_key(const struct tls_pair *pair, struct err *e)
{
    BIO *in = BIO_new_mem_buf(pair->key.p, (int)pair->key.n);
    EVP_PKEY *key = NULL;

    ERR_clear_error();
    if (in != NULL)
        key = PEM_read_bio_PrivateKey(in, NULL, no_password, NULL);
    BIO_free(in);
    if (key == NULL) {
        int reason = ERR_GET_REASON(ERR_peek_last_error());
        const char *text = tls_reason();
        if (reason == PEM_R_BAD_PASSWORD_READ)
            text = "it has a password";
        err_set(e, ERR_USAGE, 0, "read the key %s: %s", pair->key_name, text);
    }
    return key;
}

/* Does the leaf have this name of another certificate, perhaps a wildcard? */
static bool has_name(X509 *leaf, const ASN1_STRING *name)
{
    char host[256];
    int n = ASN1_STRING_length(name);

    if (n <= 0 || n >= (int)sizeof host)
        return false;
    memcpy(host, ASN1_STRING_get0_data(name), (size_t)n);
    host[n] = '\0';
    if (host[0] == '*')
        host[0] = 'x';
    return X509_check_host(leaf, host, (size_t)n, 0, NULL) == 1;
}

static bool have_common_name(X509 *a, X509 *b)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(a, NID_subject_alt_name, NULL, NULL);
    bool common = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !common; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            common = has_name(b, name->d.dNSName);
    }
    if (names == NULL) {
        const X509_NAME *subject = X509_get_subject_name(a);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        if (at >= 0)
            common = has_name(
                b, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    }
    GENERAL_NAMES_free(names);
    return common;
}

/* The SSL_CTX for a certificate: one of certificates for the same name with
 * other kinds of key, or t->nctx. */
static size_t place_for(const struct tls_context *t, X509 *leaf, int key_type)
{
    for (size_t ctx = 0; ctx < t->nctx; ctx++) {
        bool common = false, taken = false;
        for (size_t i = 0; i < t->nowners; i++) {
            const struct owner *o = &t->owners[i];
            if (o->ctx != ctx)
                continue;
            taken = taken || o->key_type == key_type;
            common = common || have_common_name(leaf, o->leaf) ||
                     have_common_name(o->leaf, leaf);
        }
        if (common && !taken)
            return ctx;
    }
    return t->nctx;
}

static int set_up_server(SSL_CTX *ctx, bool tickets)
{
    static const unsigned char id[] = "mta";

    /* Nothing is kept on this side: sessions are in tickets. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    if (!tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (SSL_CTX_set_num_tickets(ctx, tickets ? 1 : 0) != 1 ||
        SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 ||
        SSL_CTX_set1_groups_list(ctx, SERVER_GROUPS) != 1)
        return -1;
    return 0;
}

/* The chain's first is the leaf, which is taken off. */
static int use_pair(struct tls_context *t, STACK_OF(X509) * chain,
                    EVP_PKEY *key, bool tickets, struct err *e)
{
    X509 *leaf = sk_X509_shift(chain);
    int type = EVP_PKEY_get_base_id(key);
    size_t place = place_for(t, leaf, type);
    struct owner *o = &t->owners[t->nowners++];

    *o = (struct owner){ leaf, type, place };
    if (place == t->nctx &&
        (add_ctx(t) == NULL || set_up_server(t->ctx[place], tickets) != 0))
        return no_memory(e);
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(t->ctx[place], leaf, key, chain, 0) == 1)
        return 0;
    return err_set(e, ERR_USAGE, 0, "%s", tls_reason());
}

static int add_pair(struct tls_context *t, const struct tls_pair *pair,
                    bool tickets, struct err *e)
{
    STACK_OF(X509) *chain = read_chain(pair, e);
    EVP_PKEY *key = chain == NULL ? NULL : read_key(pair, e);
    int rc = -1;

    if (chain == NULL || key == NULL)
        goto out;
    rc = use_pair(t, chain, key, tickets, e);
    if (rc != 0)
        err_prefix(e, "use the certificate %s with the key %s", pair->cert_name,
                   pair->key_name);
out:
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    return rc;
}

/* --- server: names -------------------------------------------------------- */

static int on_server_name(SSL *ssl, int *alert, void *ours)
{
    const struct tls_context *t = ours;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    for (size_t i = 0; name != NULL && i < t->nowners; i++) {
        const struct owner *o = &t->owners[i];
        if (X509_check_host(o->leaf, name, 0, 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, t->ctx[o->ctx]);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK; /* the first, for a name that none has */
}

/* --- server: tickets ------------------------------------------------------ */

static int use_key(const struct ticket_key *k, EVP_MAC_CTX *mac)
{
    OSSL_PARAM params[3];
    unsigned char secret[sizeof k->mac];
    char digest[] = "SHA256";

    memcpy(secret, k->mac, sizeof secret);
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret,
                                                  sizeof secret);
    params[1] =
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    int done = EVP_MAC_CTX_set_params(mac, params);
    OPENSSL_cleanse(secret, sizeof secret);
    return done;
}

static int seal_ticket(const struct tls_context *t, unsigned char *name,
                       unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac)
{
    const struct ticket_key *k = &t->keys[0];

    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->ticket_cipher)) != 1 ||
        EVP_EncryptInit_ex2(cipher, t->ticket_cipher, k->cipher, iv, NULL) !=
            1 ||
        use_key(k, mac) != 1)
        return -1;
    memcpy(name, k->name, sizeof k->name);
    return 1;
}

/* 0: an unknown key, so a full handshake; 2: a new ticket is needed, as for
 * clients of TLS 1.3, some of which use one only once. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    const struct tls_context *t =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index);

    if (seal)
        return seal_ticket(t, name, iv, cipher, mac);
    for (size_t i = 0; i < t->nkeys; i++) {
        const struct ticket_key *k = &t->keys[i];
        if (memcmp(name, k->name, sizeof k->name) != 0)
            continue;
        if (EVP_DecryptInit_ex2(cipher, t->ticket_cipher, k->cipher, iv,
                                NULL) != 1 ||
            use_key(k, mac) != 1)
            return -1;
        return i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
    }
    return 0;
}

void tls_server_ticket_keys(struct tls_context *t, const unsigned char *keys,
                            size_t octets)
{
    size_t n = octets / TLS_TICKET_KEY;

    if (n == 0)
        return;
    if (n > TLS_TICKET_KEYS)
        n = TLS_TICKET_KEYS;
    OPENSSL_cleanse(t->keys, sizeof t->keys);
    memcpy(t->keys, keys, n * TLS_TICKET_KEY);
    t->nkeys = n;
}

static int set_up_tickets(struct tls_context *t, struct err *e)
{
    unsigned char key[TLS_TICKET_KEY];

    t->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (t->ticket_cipher == NULL || RAND_bytes(key, sizeof key) != 1)
        return no_memory(e);
    tls_server_ticket_keys(t, key, sizeof key);
    OPENSSL_cleanse(key, sizeof key);
    /* Tickets are those of the first, whatever name was asked for. */
    SSL_CTX_set_tlsext_ticket_key_evp_cb(t->ctx[0], on_ticket);
    return 0;
}

int tls_server_new(struct tls_context **t, const struct tls_pair *pairs,
                   size_t n, bool tickets, struct err *e)
{
    *t = NULL;
    if (n == 0)
        return err_set(e, ERR_USAGE, 0, "no certificate for TLS");
    *t = context_new(true, n);
    if (*t == NULL || (*t)->ctx == NULL || (*t)->owners == NULL) {
        tls_context_free(t);
        return no_memory(e);
    }
    for (size_t i = 0; i < n; i++)
        if (add_pair(*t, &pairs[i], tickets, e) != 0)
            goto failed;
    if (set_up_tickets(*t, e) != 0)
        goto failed;
    if ((*t)->nctx > 1) {
        SSL_CTX_set_tlsext_servername_callback((*t)->ctx[0], on_server_name);
        SSL_CTX_set_tlsext_servername_arg((*t)->ctx[0], *t);
    }
    return 0;
failed:
    tls_context_free(t);
    return -1;
}
