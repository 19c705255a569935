#include "tls_duo.h"

#include "base/clock.h"
#include "base/os.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char ca_file[] = "/tmp/mta-ca-XXXXXX";

struct duo duo = { .peer = -1 };
static struct err e;

/* --- owners --------------------------------------------------------------- */

void duo_take_all(struct side *s)
{
    struct span in = conn_input(&s->c);

    ck_assert_uint_lt(s->n + in.n, sizeof s->text);
    memcpy(s->text + s->n, in.p, in.n);
    s->n += in.n;
    s->text[s->n] = '\0';
    conn_consume(&s->c, in.n);
}

static void on_event(struct conn *c, enum conn_event ev)
{
    struct side *s = LOOP_ENTRY(c, struct side, c);
    size_t n = strlen(s->seen);

    ck_assert_msg(conn_is_open(c), "an event of a closed conn");
    if (n < sizeof s->seen - 1 &&
        (ev != CONN_INPUT || n == 0 || s->seen[n - 1] != 'I'))
        s->seen[n] = "CIDEFTS"[ev];
    if (s->then != NULL)
        s->then(s, ev);
    else if (ev == CONN_INPUT)
        duo_take_all(s);
}

void duo_write(struct side *s, const char *text)
{
    ck_assert(conn_write(&s->c, text, strlen(text)));
}

/* --- fixture -------------------------------------------------------------- */

/* Once a process: under valgrind they take longer than a test. */
static void make_certs(void)
{
    cert_make(&duo.ca, &(struct cert_wish){ .common = "CA", .ca = true });
    cert_make(&duo.other_ca,
              &(struct cert_wish){ .common = "other", .ca = true });
    cert_make(&duo.ec, &(struct cert_wish){ .names = "mx.a.test *.w.test",
                                            .issuer = &duo.ca });
    cert_make(&duo.rsa, &(struct cert_wish){ .names = "mx.a.test",
                                             .issuer = &duo.ca,
                                             .key = CERT_RSA });
}

static void write_ca(void)
{
    int fd = mkstemp(ca_file);
    ck_assert_int_ge(fd, 0);
    close(fd);
    cert_write(&duo.ca, ca_file);
}

void duo_new_server(const struct cert_made *cert, bool tickets)
{
    struct tls_pair pair = cert_pair(cert);

    tls_context_free(&duo.server);
    ck_assert_msg(tls_server_new(&duo.server, &pair, 1, tickets, &e) == 0, "%s",
                  e.text);
}

void duo_set_up(void)
{
    if (duo.ca.cert == NULL)
        make_certs();
    write_ca();
    ck_assert_int_eq(loop_new(&duo.loop, NULL, &e), 0);
    ck_assert_int_eq(conn_env_init(&duo.env, duo.loop, DUO_BLOCKS, &e), 0);
    duo_new_server(&duo.ec, true);
    ck_assert_int_eq(tls_client_new(&duo.client, &e), 0);
    ck_assert_msg(tls_client_trust(duo.client, ca_file, &e) == 0, "%s", e.text);
}

void duo_close_all(void)
{
    conn_close(&duo.a.c);
    conn_close(&duo.b.c);
    SSL_free(duo.bare);
    duo.bare = NULL;
    if (duo.peer >= 0)
        close(duo.peer);
    duo.peer = -1;
    ck_assert_uint_eq(pool_used(duo.env.blocks), 0);
}

void duo_tear_down(void)
{
    duo_close_all();
    tls_context_free(&duo.server);
    tls_context_free(&duo.client);
    conn_env_done(&duo.env);
    loop_free(&duo.loop);
    unlink(ca_file);
    memset(strchr(ca_file, '\0') - 6, 'X', 6);
}

static void open_side(struct side *s, int fd)
{
    memset(s, 0, sizeof *s);
    ck_assert_msg(conn_open(&s->c, &duo.env, fd, on_event, &e) == 0, "%s",
                  e.text);
}

static void make_pair(int fd[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    ck_assert_int_eq(os_nonblock(fd[0]) | os_nonblock(fd[1]), 0);
}

void duo_open_both(void)
{
    int fd[2];

    make_pair(fd);
    open_side(&duo.a, fd[0]);
    open_side(&duo.b, fd[1]);
}

void duo_open_one(struct side *s)
{
    int fd[2];

    make_pair(fd);
    open_side(s, fd[0]);
    duo.peer = fd[1];
}

void duo_bare(const SSL_METHOD *method, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    ck_assert_ptr_nonnull(ctx);
    SSL_CTX_use_certificate(ctx, duo.ec.x509);
    SSL_CTX_use_PrivateKey(ctx, duo.ec.pkey);
    SSL_CTX_set_max_proto_version(ctx, version);
    duo.bare = SSL_new(ctx);
    ck_assert_ptr_nonnull(duo.bare);
    SSL_set_fd(duo.bare, duo.peer);
    SSL_CTX_free(ctx);
}

/* --- turns ---------------------------------------------------------------- */

void duo_turn(int ms)
{
    ck_assert_msg(loop_turn(duo.loop, ms, &e) >= 0, "%s", e.text);
    conn_flush_all(&duo.env);
}

void duo_start(struct side *s, struct tls_context *t, const struct tls_want *w)
{
    ck_assert_msg(conn_start_tls(&s->c, t, w, &e) == 0, "%s", e.text);
}

void duo_expect(struct side *s, const char *events, const char *name)
{
    uint64_t until = clock_mono_ms() + DUO_LONG_MS;

    while (strcmp(s->seen, events) != 0 && clock_mono_ms() < until &&
           strncmp(s->seen, events, strlen(s->seen)) == 0)
        duo_turn(100);
    ck_assert_msg(strcmp(s->seen, events) == 0, "%s: events '%s', not '%s': %s",
                  name, s->seen, events,
                  conn_is_tls(&s->c) ? conn_tls_error(&s->c) : "in clear");
}

void duo_expect_text(struct side *s, const char *text)
{
    uint64_t until = clock_mono_ms() + DUO_LONG_MS;

    while (s->n < strlen(text) && clock_mono_ms() < until &&
           strpbrk(s->seen, "EFT") == NULL)
        duo_turn(100);
    ck_assert_str_eq(s->text, text);
}

void duo_secure(const struct tls_want *w, const char *name)
{
    duo_open_both();
    duo_start(&duo.a, duo.client, w);
    duo_start(&duo.b, duo.server, NULL);
    duo_expect(&duo.a, "S", name);
    duo_expect(&duo.b, "S", name);
}

void duo_secure_bare(struct side *s, const char *name)
{
    uint64_t until = clock_mono_ms() + DUO_LONG_MS;

    while ((SSL_do_handshake(duo.bare) != 1 || s->seen[0] == '\0') &&
           strchr(s->seen, 'F') == NULL && clock_mono_ms() < until)
        duo_turn(1);
    duo_expect(s, "S", name);
}
