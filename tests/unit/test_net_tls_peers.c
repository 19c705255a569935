/* test_net_tls_peers.c - conns in TLS with peers that are not ours: older
 * versions, other keys, and those that break the protocol. */
#include "tls_duo.h"

#include "base/clock.h"

#include <check.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

static struct side *const a = &duo.a, *const b = &duo.b;
static struct err e;

/* --- what the peer does --------------------------------------------------- */

static void bare_write(const char *text)
{
    ck_assert_int_eq(SSL_write(duo.bare, text, (int)strlen(text)),
                     (int)strlen(text));
}

static void bare_expect(const char *text)
{
    char got[100] = "";
    size_t n = 0;
    uint64_t until = clock_mono_ms() + DUO_LONG_MS;

    while (n < strlen(text) && clock_mono_ms() < until) {
        int part = SSL_read(duo.bare, got + n, (int)(sizeof got - 1 - n));
        n += part > 0 ? (size_t)part : 0;
        duo_turn(part > 0 ? 0 : 1);
    }
    ck_assert_str_eq(got, text);
}

static void send_raw(const void *p, size_t n)
{
    ck_assert_int_eq((int)send(duo.peer, p, n, MSG_NOSIGNAL), (int)n);
}

/* --- versions ------------------------------------------------------------- */

static const struct {
    const char *name;
    int version;
    const char *text;
} versions[] = {
    { "1.3", TLS1_3_VERSION, "TLSv1.3" },
    { "1.2", TLS1_2_VERSION, "TLSv1.2" },
};

START_TEST(both_versions)
{
    const char *name = versions[_i].name;

    for (int ours = 0; ours < 2; ours++) { /* the server, then the client */
        struct side *s = ours == 0 ? b : a;
        duo_open_one(s);
        duo_start(s, ours == 0 ? duo.server : duo.client, NULL);
        duo_bare(ours == 0 ? TLS_client_method() : TLS_server_method(),
                 versions[_i].version);
        if (ours == 0)
            SSL_set_connect_state(duo.bare);
        else
            SSL_set_accept_state(duo.bare);
        duo_secure_bare(s, name);
        ck_assert_str_eq(conn_tls_facts(&s->c)->version, versions[_i].text);
        bare_write("hello\r\n");
        duo_expect_text(s, "hello\r\n");
        duo_write(s, "welcome\r\n");
        bare_expect("welcome\r\n");
        duo_close_all();
    }
}
END_TEST

START_TEST(old_versions_are_refused)
{
    duo_open_one(b);
    duo_start(b, duo.server, NULL);
    duo_bare(TLS_client_method(), TLS1_1_VERSION);
    SSL_set_min_proto_version(duo.bare, TLS1_1_VERSION);
    SSL_set_security_level(duo.bare, 0);
    SSL_set_connect_state(duo.bare);
    SSL_do_handshake(duo.bare);
    duo_expect(b, "F", "1.1");
    ck_assert_str_eq(conn_tls_error(&b->c),
                     "TLS handshake: unsupported protocol");
    ck_assert_int_eq(b->c.error, EPROTO);
    ERR_clear_error();
    SSL_do_handshake(duo.bare); /* the alert tells the peer why */
    ck_assert_int_eq(ERR_GET_REASON(ERR_get_error()),
                     SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
}
END_TEST

/* --- weak TLS ------------------------------------------------------------- */

static const struct tls_want any_strength = { .any_strength = true };

static void begin_bare_server(const struct tls_want *w)
{
    duo_open_one(a);
    duo_start(a, duo.client, w);
    duo_bare(TLS_server_method(), TLS1_2_VERSION);
    SSL_set_security_level(duo.bare, 0);
    SSL_set_accept_state(duo.bare);
}

/* A server that signs with SHA-1 alone, as those that know no better. */
START_TEST(weak_is_taken_where_clear_text_would_be)
{
    static const char sha1[] = "ECDSA+SHA1";

    begin_bare_server(NULL);
    ck_assert_int_eq(SSL_set1_sigalgs_list(duo.bare, sha1), 1);
    duo_turn(0); /* its hello leaves */
    SSL_do_handshake(duo.bare);
    ERR_clear_error();
    duo_expect(a, "F", "SHA-1");
    duo_close_all();
    begin_bare_server(&any_strength);
    ck_assert_int_eq(SSL_set1_sigalgs_list(duo.bare, sha1), 1);
    duo_secure_bare(a, "SHA-1");
    ck_assert(conn_tls_facts(&a->c)->weak);
    duo_close_all();
    begin_bare_server(&any_strength);
    duo_secure_bare(a, "what they agree on");
    ck_assert(!conn_tls_facts(&a->c)->weak);
    duo_close_all();
    duo_secure(&any_strength, "1.3");
    ck_assert(!conn_tls_facts(&a->c)->weak);
}
END_TEST

/* A server without RFC 5746. */
START_TEST(unsafe_legacy_renegotiation)
{
    static const char hello[] =
        "\26\3\3\0\52"  /* handshake, TLS 1.2, 42 octets */
        "\2\0\0\46\3\3" /* ServerHello */
        "0123456789abcdef0123456789abcdef"
        "\0\300\53\0"; /* no session, ECDHE-ECDSA-AES128-GCM-SHA256 */

    for (int any = 0; any < 2; any++) {
        duo_open_one(a);
        duo_start(a, duo.client, any ? &any_strength : NULL);
        send_raw(hello, sizeof hello - 1);
        if (any) {
            for (int i = 0; i < 5; i++)
                duo_turn(0);
            duo_expect(a, "", "it goes on");
            shutdown(duo.peer, SHUT_WR);
        }
        duo_expect(a, "F", "no RFC 5746");
        ck_assert_str_eq(conn_tls_error(&a->c),
                         any ? "TLS handshake: lost connection"
                             : "TLS handshake: unsafe legacy renegotiation"
                               " disabled");
        duo_close_all();
    }
}
END_TEST

/* --- resumption ----------------------------------------------------------- */

static SSL_SESSION *session_of_bare(int version, SSL_SESSION *resume)
{
    duo_open_one(b);
    duo_start(b, duo.server, NULL);
    duo_bare(TLS_client_method(), version);
    SSL_set_connect_state(duo.bare);
    if (resume != NULL)
        SSL_set_session(duo.bare, resume);
    duo_secure_bare(b, "bare client");
    duo_write(b, "220 hello\r\n");
    bare_expect("220 hello\r\n");
    return SSL_get1_session(duo.bare);
}

START_TEST(bare_client_resumes)
{
    for (int tickets = 0; tickets < 2; tickets++) {
        duo_new_server(&duo.ec, tickets);
        SSL_SESSION *s = session_of_bare(versions[_i].version, NULL);
        ck_assert(!conn_tls_facts(&b->c)->resumed);
        SSL_shutdown(duo.bare);
        duo_close_all();
        SSL_SESSION *next = session_of_bare(versions[_i].version, s);
        ck_assert_msg(conn_tls_facts(&b->c)->resumed == (tickets == 1),
                      "%s, tickets %d", versions[_i].name, tickets);
        SSL_SESSION_free(s);
        SSL_SESSION_free(next);
        duo_close_all();
    }
}
END_TEST

/* --- certificates of a server --------------------------------------------- */

static const struct {
    const char *name, *sni;
    const char *algorithms; /* of the client; NULL: all */
    const char *common;     /* of the certificate chosen */
} choices[] = {
    { "no name", NULL, NULL, "a ec" },
    { "unknown name", "x.test", NULL, "a ec" },
    { "first", "mx.a.test", NULL, "a ec" },
    { "first, other key", "mx.a.test", "RSA-PSS+SHA256", "a rsa" },
    { "second", "mx.b.test", NULL, "b" },
    { "second, case", "MX.b.TEST", NULL, "b" },
    { "wildcard", "mx.c.test", NULL, "c" },
    { "wildcard, other key", "mx.c.test", "RSA-PSS+SHA256", "c rsa" },
    { "same name again", "also.c.test", NULL, "c" },
};

START_TEST(choice)
{
    static const struct cert_wish wishes[] = {
        { .names = "mx.a.test", .common = "a ec" },
        { .names = "mx.b.test", .common = "b" },
        { .names = "*.a.test", .common = "a rsa", .key = CERT_RSA },
        { .names = "*.c.test", .common = "c" },
        { .names = "also.c.test", .common = "late", .key = CERT_EC },
        { .names = "*.c.test", .common = "c rsa", .key = CERT_RSA },
    };
    static struct cert_made made[N(wishes)]; /* once a process */
    struct tls_pair pairs[N(wishes)];
    char common[50] = "";

    for (size_t i = 0; i < N(wishes); i++) {
        if (made[i].cert == NULL)
            cert_make(&made[i], &wishes[i]);
        pairs[i] = cert_pair(&made[i]);
    }
    tls_context_free(&duo.server);
    ck_assert_msg(tls_server_new(&duo.server, pairs, N(pairs), true, &e) == 0,
                  "%s", e.text);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        duo_open_one(b);
        duo_start(b, duo.server, NULL);
        duo_bare(TLS_client_method(), version);
        SSL_set_connect_state(duo.bare);
        if (choices[_i].sni != NULL)
            SSL_set_tlsext_host_name(duo.bare, choices[_i].sni);
        if (choices[_i].algorithms != NULL)
            ck_assert_int_eq(
                SSL_set1_sigalgs_list(duo.bare, choices[_i].algorithms), 1);
        duo_secure_bare(b, choices[_i].name);
        X509 *x = SSL_get0_peer_certificate(duo.bare);
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName,
                                  common, sizeof common);
        ck_assert_msg(strcmp(common, choices[_i].common) == 0, "%s: '%s'",
                      choices[_i].name, common);
        duo_close_all();
    }
}
END_TEST

enum text { OWN, NOTHING, NO_PEM, BROKEN, OTHER, LOCKED };

static const struct {
    const char *name;
    enum text cert, key;
    const char *says;
} bad_pairs[] = {
    { "empty", NOTHING, OWN, "no certificate in cert.pem" },
    { "no PEM", NO_PEM, OWN, "no certificate in cert.pem" },
    { "broken", BROKEN, OWN, "read the certificate cert.pem: bad base64" },
    { "no key", OWN, NOTHING, "read the key key.pem: unsupported" },
    { "certificate for key", OWN, OTHER, "read the key key.pem: unsupported" },
    { "broken key", OWN, BROKEN, "read the key key.pem: " },
    { "key for certificate", OTHER, OWN, "no certificate in cert.pem" },
    { "locked", OWN, LOCKED, "read the key key.pem: it has a password" },
};

static const char *text_of(enum text which, bool key)
{
    static char locked[4000];

    switch (which) {
    case OWN: return key ? duo.ec.key : duo.ec.cert;
    case OTHER: return key ? duo.ec.cert : duo.ec.key;
    case NO_PEM: return "hello\n";
    case BROKEN:
        return key ? "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE "
                     "KEY-----\n"
                   : "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"
                     "\n";
    case LOCKED: {
        BIO *out = BIO_new(BIO_s_mem());
        PEM_write_bio_PKCS8PrivateKey(out, duo.ec.pkey, EVP_aes_128_cbc(), "x",
                                      1, NULL, NULL);
        int n = BIO_read(out, locked, sizeof locked - 1);
        locked[n] = '\0';
        BIO_free(out);
        return locked;
    }
    default: return "";
    }
}

START_TEST(bad_pair)
{
    struct tls_pair pair = cert_pair(&duo.ec);
    struct tls_context *t;

    pair.cert = span_of(text_of(bad_pairs[_i].cert, false));
    pair.key = span_of(text_of(bad_pairs[_i].key, true));
    ck_assert_int_eq(tls_server_new(&t, &pair, 1, true, &e), -1);
    ck_assert_ptr_null(t);
    ck_assert_msg(
        strncmp(e.text, bad_pairs[_i].says, strlen(bad_pairs[_i].says)) == 0,
        "%s: %s", bad_pairs[_i].name, e.text);
    ck_assert_int_eq(e.kind, ERR_USAGE);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(pairs_that_do_not_fit)
{
    struct tls_pair pairs[2] = { cert_pair(&duo.ec), cert_pair(&duo.ca) };
    struct tls_context *t;

    ck_assert_int_eq(tls_server_new(&t, pairs, 0, true, &e), -1);
    ck_assert_str_eq(e.text, "no certificate for TLS");
    pairs[1].cert = pairs[0].cert;
    ck_assert_int_eq(tls_server_new(&t, pairs, 2, true, &e), -1);
    ck_assert_str_eq(e.text, "use the certificate cert.pem with the key "
                             "key.pem: private key mismatch");
}
END_TEST

START_TEST(authorities_that_cannot_be_read)
{
    struct tls_context *t;

    ck_assert_int_eq(tls_client_new(&t, &e), 0);
    ck_assert_int_eq(tls_client_trust(t, "/none", &e), -1);
    ck_assert_str_eq(e.text, "read CA certificates from /none: "
                             "No such file or directory");
    ck_assert_int_eq(tls_client_trust(t, "/dev/null", &e), -1);
    ck_assert_int_eq(setenv("SSL_CERT_FILE", "/none", 1), 0);
    ck_assert_int_eq(tls_client_trust(t, NULL, &e), -1);
    ck_assert_str_eq(e.text, "read CA certificates from /none (SSL_CERT_FILE): "
                             "No such file or directory");
    unsetenv("SSL_CERT_FILE");
    ck_assert_int_eq(tls_client_trust(t, NULL, &e), 0);
    tls_context_free(&duo.client);
    duo.client = t;
    duo_open_both();
    duo_start(a, duo.client, NULL);
    duo_start(b, duo.server, NULL);
    duo_expect(a, "S", "without authorities");
    ck_assert(!conn_tls_facts(&duo.a.c)->chain_good);
}
END_TEST

/* Certificates change on disk; connections go on with the old ones. */
START_TEST(context_goes_before_its_connections)
{
    duo_open_both();
    duo_start(a, duo.client, NULL);
    duo_start(b, duo.server, NULL);
    tls_context_free(&duo.client);
    tls_context_free(&duo.server);
    duo_expect(a, "S", "client");
    duo_write(b, "220 hello\r\n");
    duo_expect_text(a, "220 hello\r\n");
}
END_TEST

START_TEST(contexts_of_names_go_with_their_connections)
{
    static const struct cert_wish wishes[] = {
        { .names = "mx.a.test", .common = "a" },
        { .names = "mx.b.test", .common = "b" },
    };
    struct tls_pair pairs[N(wishes)];
    struct cert_made made[N(wishes)];

    for (size_t i = 0; i < N(wishes); i++) {
        cert_make(&made[i], &wishes[i]);
        pairs[i] = cert_pair(&made[i]);
    }
    tls_context_free(&duo.server);
    ck_assert_msg(tls_server_new(&duo.server, pairs, N(pairs), true, &e) == 0,
                  "%s", e.text);
    duo_open_one(b);
    duo_start(b, duo.server, NULL);
    duo_bare(TLS_client_method(), versions[_i].version);
    SSL_set_connect_state(duo.bare);
    SSL_set_tlsext_host_name(duo.bare, "mx.b.test");
    duo_secure_bare(b, versions[_i].name);
    tls_context_free(&duo.server);
    duo_write(b, "220 hello\r\n");
    bare_expect("220 hello\r\n");
    duo_close_all();
    for (size_t i = 0; i < N(wishes); i++)
        cert_free(&made[i]);
}
END_TEST

/* --- bad input ------------------------------------------------------------ */

static const struct {
    const char *name, *raw;
    size_t n; /* 0: a string */
    bool fails_client, fails_server;
} garbage[] = {
    { "a greeting", "220 mx.a.test ESMTP\r\n", 0, true, true },
    { "a command", "EHLO a.test\r\n", 0, true, true },
    { "HTTP", "GET / HTTP/1.1\r\n\r\n", 0, true, true },
    { "an alert", "\25\3\3\0\2\2\50", 7, true, true },
    { "data", "\27\3\3\0\5hello", 10, true, true },
    { "no version", "\26\0\0\0\5hello", 10, true, true },
    { "too long", "\26\3\1\377\377hello", 10, true, true },
    { "no handshake", "\26\3\1\0\5\377\0\0\1\0", 10, true, true },
    { "empty records", "\26\3\1\0\0\26\3\1\0\0", 10, false, false },
    { "NULs", "\0\0\0\0\0\0\0\0\0\0\0", 11, true, true },
    { "a client's hello cut short", "\26\3\1\0\5\1\0\1\0\3", 10, true, false },
    { "half a record", "\26\3\1\0\5\1", 6, false, false },
    { "half a header", "\26\3", 2, false, false },
};

START_TEST(garbage_for_a_handshake)
{
    size_t n = garbage[_i].n != 0 ? garbage[_i].n : strlen(garbage[_i].raw);

    for (int role = 0; role < 2; role++) {
        struct side *s = role == 0 ? a : b;
        bool fails =
            role == 0 ? garbage[_i].fails_client : garbage[_i].fails_server;
        duo_open_one(s);
        duo_start(s, role == 0 ? duo.client : duo.server, NULL);
        send_raw(garbage[_i].raw, n);
        if (!fails) {
            for (int i = 0; i < 5; i++)
                duo_turn(0);
            duo_expect(s, "", garbage[_i].name);
            shutdown(duo.peer, SHUT_WR);
        }
        duo_expect(s, "F", garbage[_i].name);
        const char *why = conn_tls_error(&s->c);
        if (fails)
            ck_assert_msg(strncmp(why, "TLS handshake: ", 15) == 0 &&
                              strlen(why) > 15,
                          "%s: %s", garbage[_i].name, why);
        else
            ck_assert_str_eq(why, "TLS handshake: lost connection");
        ck_assert_uint_eq(ERR_peek_error(), 0);
        duo_close_all();
    }
}
END_TEST

START_TEST(silence_ends_by_the_deadline)
{
    duo_open_one(b);
    conn_set_timeout_ms(&b->c, 20);
    duo_start(b, duo.server, NULL);
    duo_write(b, "secret");
    duo_expect(b, "T", "silence");
    conn_close_after_output(&b->c);
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    char got[10];
    ck_assert_int_eq((int)read(duo.peer, got, sizeof got), 0);
}
END_TEST

/* The peer is secured with b, over memory: its records can be looked at. */
static BIO *to_bare, *from_bare;

static size_t carry_from(size_t piece, size_t most)
{
    char octets[20000];
    size_t all = 0;
    int n = 1;

    while (n > 0 && all < most) {
        size_t want = piece < most - all ? piece : most - all;
        n = BIO_read(from_bare, octets, (int)want);
        if (n > 0) {
            send_raw(octets, (size_t)n);
            all += (size_t)n;
            duo_turn(0);
        }
    }
    return all;
}

static void carry_to(void)
{
    char octets[20000];
    ssize_t n;

    duo_turn(0);
    while ((n = read(duo.peer, octets, sizeof octets)) > 0)
        BIO_write(to_bare, octets, (int)n);
}

static void secure_over_memory(int version, size_t piece)
{
    duo_open_one(b);
    duo_start(b, duo.server, NULL);
    duo_bare(TLS_client_method(), version);
    SSL_set_connect_state(duo.bare);
    to_bare = BIO_new(BIO_s_mem());
    from_bare = BIO_new(BIO_s_mem());
    SSL_set_bio(duo.bare, to_bare, from_bare);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(duo.bare);
        carry_from(piece, 100000);
        carry_to();
    }
    duo_expect(b, "S", "over memory");
}

START_TEST(octet_by_octet)
{
    static char big[10000];

    memset(big, 'x', sizeof big - 1);
    secure_over_memory(versions[_i].version, 1);
    bare_write("hello ");
    bare_write(big);
    bare_write(" bye");
    carry_from(1, 100000);
    ck_assert_uint_eq(b->n, sizeof big - 1 + 10);
    ck_assert_str_eq(b->text + b->n - 5, "x bye");
    ck_assert_str_eq(b->seen, "SI");
}
END_TEST

/* The end without the notice is an end, and what is cut off is not shown. */
START_TEST(cut_record)
{
    secure_over_memory(versions[_i].version, 10000);
    bare_write("whole ");
    carry_from(10000, 10000);
    bare_write("cut off");
    carry_from(10000, 20);
    shutdown(duo.peer, SHUT_WR);
    duo_expect(b, "SIE", versions[_i].name);
    ck_assert_str_eq(b->text, "whole ");
}
END_TEST

START_TEST(changed_record)
{
    char octets[100];

    secure_over_memory(versions[_i].version, 10000);
    bare_write("whole ");
    carry_from(10000, 10000);
    bare_write("changed");
    int n = BIO_read(from_bare, octets, sizeof octets);
    octets[n - 1] ^= 1;
    send_raw(octets, (size_t)n);
    duo_expect(b, "SIF", versions[_i].name);
    ck_assert_str_eq(b->text, "whole ");
    ck_assert_str_eq(conn_tls_error(&b->c),
                     "TLS: decryption failed or bad record mac");
    carry_to();
    ck_assert_int_le(SSL_read(duo.bare, octets, sizeof octets), 0);
    ck_assert_int_eq(ERR_GET_REASON(ERR_get_error()),
                     SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
}
END_TEST

START_TEST(clear_text_after_the_handshake)
{
    secure_over_memory(versions[_i].version, 10000);
    send_raw("MAIL FROM:<a@a.test>\r\n", 22);
    duo_expect(b, "SF", versions[_i].name);
    ck_assert_str_eq(conn_tls_error(&b->c), "TLS: wrong version number");
}
END_TEST

/* A half-close by the notice alone: the descriptor has no end. */
START_TEST(notice_without_end)
{
    secure_over_memory(versions[_i].version, 10000);
    bare_write("QUIT\r\n");
    SSL_shutdown(duo.bare);
    carry_from(10000, 10000);
    duo_expect(b, "SIE", versions[_i].name);
    duo_write(b, "221 bye\r\n");
    conn_part(&b->c);
    duo_expect(b, "SIEE", versions[_i].name);
    conn_close(&b->c);
    carry_to();
    char got[20] = "";
    ck_assert_int_eq(SSL_read(duo.bare, got, sizeof got), 9);
    ck_assert_str_eq(got, "221 bye\r\n");
    ck_assert_int_eq(SSL_read(duo.bare, got, sizeof got), 0);
    ck_assert_int_eq(SSL_get_error(duo.bare, 0), SSL_ERROR_ZERO_RETURN);
}
END_TEST

START_TEST(notice_during_a_pause)
{
    secure_over_memory(versions[_i].version, 10000);
    conn_pause(&b->c);
    bare_write("one\r\n");
    SSL_shutdown(duo.bare);
    carry_from(10000, 10000);
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    ck_assert_str_eq(b->seen, "S");
    conn_resume(&b->c);
    duo_expect(b, "SIE", versions[_i].name);
    ck_assert_str_eq(b->text, "one\r\n");
}
END_TEST

static void pause_it(struct side *s, enum conn_event ev)
{
    if (ev == CONN_INPUT)
        conn_pause(&s->c);
}

START_TEST(notice_behind_input_that_is_left)
{
    secure_over_memory(versions[_i].version, 10000);
    b->then = pause_it;
    bare_write("one\r\n");
    SSL_shutdown(duo.bare);
    carry_from(10000, 10000);
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    ck_assert_str_eq(b->seen, "SI");
    b->then = NULL;
    conn_resume(&b->c);
    duo_expect(b, "SIE", versions[_i].name);
    ck_assert_str_eq(b->text, "one\r\n");
}
END_TEST

static void take_a_line_and_pause(struct side *s, enum conn_event ev)
{
    if (ev != CONN_INPUT)
        return;
    struct span in = conn_input(&s->c);
    size_t n = span_find(in, '\n') + 1;
    memcpy(s->text + s->n, in.p, n);
    s->n += n;
    conn_consume(&s->c, n);
    conn_pause(&s->c);
}

/* It comes after a resume, before what waits was shown again. */
START_TEST(notice_overtakes_nothing)
{
    secure_over_memory(versions[_i].version, 10000);
    b->then = take_a_line_and_pause;
    bare_write("one\r\ntwo\r\n");
    carry_from(10000, 10000);
    SSL_shutdown(duo.bare);
    char notice[100];
    int n = BIO_read(from_bare, notice, sizeof notice);
    send_raw(notice, (size_t)n);
    conn_resume(&b->c);
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    ck_assert_str_eq(b->seen, "SI");
    ck_assert_str_eq(b->text, "one\r\ntwo\r\n");
    conn_resume(&b->c);
    duo_expect(b, "SIE", versions[_i].name);
}
END_TEST

/* Each try is refused, the connection stays. */
START_TEST(renegotiation_is_refused)
{
    char got[20];

    secure_over_memory(TLS1_2_VERSION, 10000);
    for (int i = 0; i < 3; i++) {
        ERR_clear_error();
        if (SSL_renegotiate(duo.bare) != 1)
            break;
        SSL_do_handshake(duo.bare);
        carry_from(10000, 10000);
        carry_to();
        ck_assert_int_le(SSL_read(duo.bare, got, sizeof got), 0);
    }
    ck_assert_ptr_null(strchr(b->seen, 'I'));
    uint64_t before = clock_mono_ms();
    duo_turn(30);
    ck_assert_msg(clock_mono_ms() - before >= 30, "the loop spins");
}
END_TEST

/* Requests for new keys make us answer; a peer that does not read the answers
 * comes to an end, and holds few blocks until then.  Under valgrind that would
 * take longer than all other tests here: the first answers do. */
START_TEST(flood_of_key_updates)
{
    bool whole = getenv("TEST_VALGRIND") == NULL;
    int most = whole ? 20000 : 300;

    secure_over_memory(TLS1_3_VERSION, 10000);
    for (int i = 0; i < most && strchr(b->seen, 'F') == NULL; i++) {
        SSL_key_update(duo.bare, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(duo.bare);
        carry_from(10000, 10000);
    }
    ck_assert_str_eq(b->seen, whole ? "SF" : "S");
}
END_TEST

/* --- bounds --------------------------------------------------------------- */

static void *hoard[DUO_BLOCKS];
static size_t hoarded;

static void hoard_all_but(size_t left)
{
    while (pool_left(duo.env.blocks) > left)
        hoard[hoarded++] = pool_get(duo.env.blocks);
}

static void give_back(void)
{
    while (hoarded > 0)
        pool_put(duo.env.blocks, hoard[--hoarded]);
}

START_TEST(no_blocks_no_read)
{
    secure_over_memory(versions[_i].version, 10000);
    hoard_all_but(CONN_RESERVE);
    bare_write("hello");
    carry_from(10000, 10000);
    uint64_t before = clock_mono_ms();
    duo_turn(30);
    ck_assert_msg(clock_mono_ms() - before >= 30, "the loop spins");
    ck_assert_str_eq(b->seen, "S");
    give_back();
    conn_flush_all(&duo.env);
    duo_expect(b, "SI", "after blocks came free");
    ck_assert_str_eq(b->text, "hello");
}
END_TEST

/* A record that needs more blocks than there are waits for them, without a
 * loop that spins. */
START_TEST(few_blocks_for_a_record)
{
    static char big[16000];

    memset(big, 'x', sizeof big - 1);
    secure_over_memory(versions[_i].version, 10000);
    hoard_all_but(CONN_RESERVE + 2);
    bare_write(big);
    carry_from(20000, 20000);
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    uint64_t before = clock_mono_ms();
    duo_turn(30);
    ck_assert_msg(clock_mono_ms() - before >= 30, "the loop spins");
    ck_assert_str_eq(b->seen, "S");
    give_back();
    conn_flush_all(&duo.env);
    duo_expect(b, "SI", "after blocks came free");
    ck_assert_uint_eq(b->n, sizeof big - 1);
}
END_TEST

START_TEST(no_blocks_for_the_handshake)
{
    duo_open_one(b);
    duo_start(b, duo.server, NULL);
    duo_bare(TLS_client_method(), TLS1_3_VERSION);
    SSL_set_connect_state(duo.bare);
    SSL_do_handshake(duo.bare);
    hoard_all_but(CONN_RESERVE + 1);
    duo_turn(100);
    duo_turn(0);
    give_back();
    ck_assert_str_eq(b->seen, "");
    duo_secure_bare(b, "in time");
}
END_TEST

static void take_nothing(struct side *s, enum conn_event ev)
{
    if (ev == CONN_INPUT)
        s->n = conn_input(&s->c).n;
}

/* As in clear: 64 KiB, all of it shown, then ENOBUFS. */
START_TEST(input_is_bounded)
{
    static char piece[16000];

    memset(piece, 'x', sizeof piece - 1);
    secure_over_memory(versions[_i].version, 10000);
    b->then = take_nothing;
    for (int i = 0; i < 6 && strchr(b->seen, 'F') == NULL; i++) {
        bare_write(piece);
        carry_from(7000, 100000);
    }
    duo_expect(b, "SIF", versions[_i].name);
    ck_assert_int_eq(b->c.error, ENOBUFS);
    ck_assert_uint_eq(b->n, CONN_SCRATCH);
    ck_assert_str_ne(conn_tls_error(&b->c), "");
}
END_TEST

static void take_late(struct side *s, enum conn_event ev)
{
    if (ev == CONN_INPUT && conn_input(&s->c).n >= 60000)
        duo_take_all(s);
}

/* Records that do not fit beside what is left are shown when it is taken. */
START_TEST(full_scratch)
{
    static char piece[16001];

    memset(piece, 'x', sizeof piece - 1);
    secure_over_memory(versions[_i].version, 10000);
    b->then = take_late;
    for (int i = 0; i < 5; i++)
        bare_write(piece);
    hoard_all_but(40);
    carry_from(20000, 100000);
    give_back();
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    duo_take_all(b);
    ck_assert_uint_ge(b->n, 60000);
    ck_assert_str_eq(b->seen, "SI");
}
END_TEST

/* The peer reads nothing: output waits in bounds, and the deadline comes. */
START_TEST(peer_that_reads_nothing)
{
    static char big[8000];
    size_t sent = 0;

    memset(big, 'y', sizeof big);
    secure_over_memory(versions[_i].version, 10000);
    conn_set_timeout_ms(&b->c, 50);
    while (conn_output_waiting(&b->c) < CONN_HIGH) {
        ck_assert(conn_write(&b->c, big, sizeof big));
        sent += sizeof big;
    }
    duo_expect(b, "ST", versions[_i].name);
    ck_assert_str_eq(conn_tls_error(&b->c), "");
    carry_to();
    while (sent > 0) {
        char got[20000];
        int n = SSL_read(duo.bare, got, sizeof got);
        if (n <= 0)
            carry_to();
        else
            sent -= (size_t)n;
    }
    duo_expect(b, "STD", versions[_i].name);
}
END_TEST

START_TEST(input_seen_early)
{
    secure_over_memory(versions[_i].version, 10000);
    conn_pause(&b->c);
    ck_assert(!conn_has_input(&b->c));
    bare_write("EHLO a\r\n");
    carry_from(10000, 10000);
    ck_assert(conn_has_input(&b->c));
    conn_resume(&b->c);
    duo_expect_text(b, "EHLO a\r\n");
    conn_pause(&b->c);
    ck_assert(!conn_has_input(&b->c));
    SSL_shutdown(duo.bare);
    carry_from(10000, 10000);
    ck_assert_msg(!conn_has_input(&b->c), "the notice of an end is none");
}
END_TEST

static void close_it(struct side *s, enum conn_event ev)
{
    (void)ev;
    conn_close(&s->c);
}

/* The owner closes in the first event, while a record waits behind it. */
START_TEST(closed_by_its_owner)
{
    duo_open_both();
    duo_start(a, duo.client, NULL);
    duo_start(b, duo.server, NULL);
    duo_write(a, "EHLO a\r\n");
    b->then = close_it;
    duo_expect(b, "S", "closed");
    duo_turn(0);
    ck_assert(!conn_is_open(&b->c) && !conn_is_tls(&b->c));
}
END_TEST

static void pause_at_once(struct side *s, enum conn_event ev)
{
    if (ev == CONN_SECURED)
        conn_pause(&s->c);
    else if (ev == CONN_INPUT)
        duo_take_all(s);
}

/* Data that came with the last record of the handshake waits for the owner. */
START_TEST(paused_when_secured)
{
    duo_open_both();
    duo_start(a, duo.client, NULL);
    duo_start(b, duo.server, NULL);
    conn_pause(&b->c); /* no pause for the handshake */
    duo_write(a, "EHLO a\r\n");
    b->then = pause_at_once;
    duo_expect(b, "S", "paused");
    for (int i = 0; i < 5; i++)
        duo_turn(0);
    ck_assert_str_eq(b->seen, "S");
    conn_resume(&b->c);
    duo_expect_text(b, "EHLO a\r\n");
    ck_assert_str_eq(b->seen, "SI");
}
END_TEST

/* An error that other code left in the queue of the thread is not ours. */
START_TEST(errors_of_others)
{
    secure_over_memory(versions[_i].version, 10000);
    ERR_raise(ERR_LIB_USER, 42);
    bare_write("hello");
    ERR_raise(ERR_LIB_USER, 42);
    carry_from(10000, 10000);
    ERR_raise(ERR_LIB_USER, 42);
    duo_write(b, "welcome");
    carry_to();
    ck_assert_str_eq(b->seen, "SI");
    bare_expect("welcome");
}
END_TEST

Suite *net_tls_peers_suite(void);
Suite *net_tls_peers_suite(void)
{
    Suite *s = suite_create("net.tls_peers");
    TCase *t = tcase_create("peers");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, duo_set_up, duo_tear_down);
    tcase_add_loop_test(t, both_versions, 0, N(versions));
    tcase_add_test(t, old_versions_are_refused);
    tcase_add_test(t, weak_is_taken_where_clear_text_would_be);
    tcase_add_test(t, unsafe_legacy_renegotiation);
    tcase_add_loop_test(t, bare_client_resumes, 0, N(versions));
    tcase_add_loop_test(t, choice, 0, N(choices));
    tcase_add_loop_test(t, bad_pair, 0, N(bad_pairs));
    tcase_add_test(t, pairs_that_do_not_fit);
    tcase_add_test(t, authorities_that_cannot_be_read);
    tcase_add_test(t, context_goes_before_its_connections);
    tcase_add_loop_test(t, contexts_of_names_go_with_their_connections, 0,
                        N(versions));
    tcase_add_loop_test(t, garbage_for_a_handshake, 0, N(garbage));
    tcase_add_test(t, silence_ends_by_the_deadline);
    tcase_add_loop_test(t, octet_by_octet, 0, N(versions));
    tcase_add_loop_test(t, cut_record, 0, N(versions));
    tcase_add_loop_test(t, changed_record, 0, N(versions));
    tcase_add_loop_test(t, clear_text_after_the_handshake, 0, N(versions));
    tcase_add_loop_test(t, notice_without_end, 0, N(versions));
    tcase_add_loop_test(t, notice_during_a_pause, 0, N(versions));
    tcase_add_loop_test(t, notice_behind_input_that_is_left, 0, N(versions));
    tcase_add_loop_test(t, notice_overtakes_nothing, 0, N(versions));
    tcase_add_test(t, renegotiation_is_refused);
    tcase_add_test(t, flood_of_key_updates);
    tcase_add_loop_test(t, no_blocks_no_read, 0, N(versions));
    tcase_add_loop_test(t, few_blocks_for_a_record, 0, N(versions));
    tcase_add_test(t, no_blocks_for_the_handshake);
    tcase_add_loop_test(t, input_is_bounded, 0, N(versions));
    tcase_add_loop_test(t, full_scratch, 0, N(versions));
    tcase_add_loop_test(t, peer_that_reads_nothing, 0, N(versions));
    tcase_add_loop_test(t, input_seen_early, 0, N(versions));
    tcase_add_test(t, closed_by_its_owner);
    tcase_add_test(t, paused_when_secured);
    tcase_add_loop_test(t, errors_of_others, 0, N(versions));
    suite_add_tcase(s, t);
    return s;
}
