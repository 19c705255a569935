#include "tls_peer.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Valid until 2126. */
const char tls_peer_cert[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBjjCCATWgAwIBAgIUckAG0YfiK6NM0i0t84kKAhgUpyAwCgYIKoZIzj0EAwIw\n"
    "EjEQMA4GA1UEAwwHbXgudGVzdDAgFw0yNjExMzAwMTQ4MTdaGA8yMTI2MTEwNjAx\n"
    "NDgxN1owEjEQMA4GA1UEAwwHbXgudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABDkQjmBSvAo7YElMVXiuihvUZ22idROEfPWy+iNxEgXtjZIXMDKipDAt9i51\n"
    "jbrafdhakp1TGQGO9cVy6bX5RnWjZzBlMB0GA1UdDgQWBBQlxyuct0nSKK5J98zJ\n"
    "Qb92EhqppDAfBgNVHSMEGDAWgBQlxyuct0nSKK5J98zJQb92EhqppDAPBgNVHRMB\n"
    "Af8EBTADAQH/MBIGA1UdEQQLMAmCB214LnRlc3QwCgYIKoZIzj0EAwIDRwAwRAIg\n"
    "KCxqEOY0IR+DyjFYnosF32fBXSOaPn9MKCk63gRS5k8CIBf/t8/djufzQn1x4olz\n"
    "yUyIX7fsEXOZIyN7bTPk3JIi\n"
    "-----END CERTIFICATE-----\n";

const char tls_peer_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDZC85HQhMwLLmgfK\n"
    "3yTgB7Rb18MD7KXH2vBCXHQzyUehRANCAAQ5EI5gUrwKO2BJTFV4roob1GdtonUT\n"
    "hHz1svojcRIF7Y2SFzAyoqQwLfYudY262n3YWpKdUxkBjvXFcum1+UZ1\n"
    "-----END PRIVATE KEY-----\n";

struct tls_peer {
    struct conn conn;
    struct conn_env env;
    struct tls_context *context;
    char got[8192];
    size_t n;
    bool secured, over;
};

struct tls_context *tls_peer_server(void)
{
    const struct tls_pair pair = { .cert = span_of(tls_peer_cert),
                                   .key = span_of(tls_peer_key),
                                   .cert_name = "cert",
                                   .key_name = "key" };
    struct tls_context *t;
    struct err e;

    ck_assert_msg(tls_server_new(&t, &pair, 1, true, &e) == 0, "%s", e.text);
    return t;
}

static void on_event(struct conn *c, enum conn_event ev)
{
    struct tls_peer *t = LOOP_ENTRY(c, struct tls_peer, conn);

    if (ev == CONN_INPUT) {
        struct span in = conn_input(c);
        ck_assert_uint_le(in.n, sizeof t->got - t->n);
        memcpy(t->got + t->n, in.p, in.n);
        t->n += in.n;
        conn_consume(c, in.n);
    }
    t->secured |= ev == CONN_SECURED;
    t->over |= ev == CONN_EOF || ev == CONN_FAILED;
    if (ev == CONN_FAILED)
        conn_close(c);
}

struct tls_peer *tls_peer_new(struct loop *loop, int fd)
{
    struct tls_peer *t = calloc(1, sizeof *t);
    struct err e;

    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(conn_env_init(&t->env, loop, 100, &e), 0);
    ck_assert_int_eq(tls_client_new(&t->context, &e), 0);
    ck_assert_int_eq(conn_open(&t->conn, &t->env, fd, on_event, &e), 0);
    ck_assert_msg(conn_start_tls(&t->conn, t->context, NULL, &e) == 0, "%s",
                  e.text);
    return t;
}

void tls_peer_free(struct tls_peer **tp)
{
    struct tls_peer *t = *tp;

    if (t == NULL)
        return;
    conn_close(&t->conn);
    conn_env_done(&t->env);
    tls_context_free(&t->context);
    free(t);
    *tp = NULL;
}

bool tls_peer_is_secured(const struct tls_peer *t)
{
    return t->secured;
}

bool tls_peer_is_over(const struct tls_peer *t)
{
    return t->over;
}

void tls_peer_send(struct tls_peer *t, const char *text)
{
    ck_assert(conn_write(&t->conn, text, strlen(text)));
}

void tls_peer_flush(struct tls_peer *t)
{
    conn_flush_all(&t->env);
}

size_t tls_peer_take(struct tls_peer *t, char *to, size_t room)
{
    size_t n = t->n < room ? t->n : room;

    memcpy(to, t->got, n);
    t->n -= n;
    memmove(t->got, t->got + n, t->n);
    return n;
}
