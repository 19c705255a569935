/* test_net_tls.c - conns in TLS with each other and with a bare OpenSSL.  Both
 * ends are in one loop and share its buffers. */
#include "certs.h"

#include "net/tls.h"

#include "base/clock.h"
#include "base/os.h"

#include <check.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

enum { BLOCKS = 64, LONG_MS = 60000 };

static struct loop *loop;
static struct conn_env env;
static struct err e;

struct side {
    struct conn c;
    char seen[64];   /* a letter for each event */
    char text[5000]; /* input taken */
    size_t n;
    void (*then)(struct side *s, enum conn_event ev);
};

static struct side a, b; /* client and server */
static int peer = -1;    /* instead of one of them: the test's end */
static SSL *bare;        /* on it */

/* --- owners --------------------------------------------------------------- */

static void take_all(struct side *s)
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
    if (n < sizeof s->seen - 1 && (ev != CONN_INPUT || s->seen[n - 1] != 'I'))
        s->seen[n] = "CIDEFTS"[ev];
    if (s->then != NULL)
        s->then(s, ev);
    else if (ev == CONN_INPUT)
        take_all(s);
}

static void write_text(struct side *s, const char *text)
{
    ck_assert(conn_write(&s->c, text, strlen(text)));
}

/* --- fixture -------------------------------------------------------------- */

static struct cert_made ca, other_ca, ec, rsa;
static struct tls_context *server, *client;

#define CA_FILE "build/test-net-tls-ca.pem"

static void make_certs(void)
{
    cert_make(&ca, &(struct cert_wish){ .common = "CA", .ca = true });
    cert_make(&other_ca, &(struct cert_wish){ .common = "other", .ca = true });
    cert_make(&ec, &(struct cert_wish){ .names = "mx.a.test *.w.test",
                                        .issuer = &ca });
    cert_make(&rsa, &(struct cert_wish){
                        .names = "mx.a.test", .issuer = &ca, .key = CERT_RSA });
    cert_write(&ca, CA_FILE);
}

static void free_certs(void)
{
    cert_free(&ca);
    cert_free(&other_ca);
    cert_free(&ec);
    cert_free(&rsa);
    unlink(CA_FILE);
}

static void new_server(const struct cert_made *cert, bool tickets)
{
    struct tls_pair pair = cert_pair(cert);

    tls_context_free(&server);
    ck_assert_msg(tls_server_new(&server, &pair, 1, tickets, &e) == 0, "%s",
                  e.text);
}

static void set_up(void)
{
    make_certs();
    ck_assert_int_eq(loop_new(&loop, NULL, &e), 0);
    ck_assert_int_eq(conn_env_init(&env, loop, BLOCKS, &e), 0);
    new_server(&ec, true);
    ck_assert_msg(tls_client_new(&client, CA_FILE, &e) == 0, "%s", e.text);
}

static void close_all(void)
{
    conn_close(&a.c);
    conn_close(&b.c);
    SSL_free(bare);
    bare = NULL;
    if (peer >= 0)
        close(peer);
    peer = -1;
    ck_assert_uint_eq(pool_used(env.blocks), 0);
}

static void tear_down(void)
{
    close_all();
    tls_context_free(&server);
    tls_context_free(&client);
    conn_env_done(&env);
    loop_free(&loop);
    free_certs();
}

static void open_side(struct side *s, int fd)
{
    memset(s, 0, sizeof *s);
    ck_assert_int_eq(os_nonblock(fd), 0);
    ck_assert_msg(conn_open(&s->c, &env, fd, on_event, &e) == 0, "%s", e.text);
}

static void make_pair(int fd[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    ck_assert_int_eq(os_nonblock(fd[0]) | os_nonblock(fd[1]), 0);
}

static void turn(int ms)
{
    ck_assert_msg(loop_turn(loop, ms, &e) >= 0, "%s", e.text);
    conn_flush_all(&env);
}

static void start(struct side *s, struct tls_context *t,
                  const struct tls_want *w)
{
    ck_assert_msg(conn_start_tls(&s->c, t, w, &e) == 0, "%s", e.text);
}

/* Until s saw these events. */
static void expect(struct side *s, const char *events, const char *name)
{
    uint64_t until = clock_mono_ms() + LONG_MS;

    while (strcmp(s->seen, events) != 0 && clock_mono_ms() < until &&
           strlen(s->seen) <= strlen(events) &&
           strncmp(s->seen, events, strlen(s->seen)) == 0)
        turn(100);
    ck_assert_msg(strcmp(s->seen, events) == 0, "%s: events '%s', not '%s': %s",
                  name, s->seen, events,
                  conn_is_tls(&s->c) ? conn_tls_error(&s->c) : "in clear");
}

static void expect_text(struct side *s, const char *text)
{
    uint64_t until = clock_mono_ms() + LONG_MS;

    while (s->n < strlen(text) && clock_mono_ms() < until &&
           strpbrk(s->seen, "EFT") == NULL)
        turn(100);
    ck_assert_str_eq(s->text, text);
}

/* a and b, both secured. */
static void secure(const struct tls_want *w, const char *name)
{
    int fd[2];

    make_pair(fd);
    open_side(&a, fd[0]);
    open_side(&b, fd[1]);
    start(&a, client, w);
    start(&b, server, NULL);
    expect(&a, "S", name);
    expect(&b, "S", name);
}

/* --- a handshake and after ------------------------------------------------ */

START_TEST(both_sides)
{
    const struct tls_facts *f;

    secure(NULL, "both");
    f = conn_tls_facts(&a.c);
    ck_assert_str_eq(f->version, "TLSv1.3");
    ck_assert_uint_eq(f->version_id, 0x0304);
    ck_assert_str_eq(f->cipher, "TLS_AES_128_GCM_SHA256");
    ck_assert_uint_eq(f->cipher_id, 0x1301);
    ck_assert_str_eq(tls_version_name(f->version_id), f->version);
    ck_assert_str_eq(tls_cipher_name(f->cipher_id), f->cipher);
    ck_assert(!f->resumed && f->chain_good && f->why == NULL);
    f = conn_tls_facts(&b.c);
    ck_assert_str_eq(f->cipher, "TLS_AES_128_GCM_SHA256");
    ck_assert(!f->chain_good && f->why[0] != '\0');
    ck_assert(conn_is_tls(&a.c) && conn_is_tls(&b.c));
    write_text(&a, "EHLO a\r\n");
    expect_text(&b, "EHLO a\r\n");
    write_text(&b, "250 b\r\n");
    expect_text(&a, "250 b\r\n");
    ck_assert_uint_eq(conn_output_waiting(&b.c), 0);
    ck_assert_uint_eq(pool_used(env.blocks), 0);
    write_text(&b, "221 bye\r\n");
    conn_close_after_output(&b.c);
    expect(&a, "SIE", "end"); /* of the TLS: the descriptor is still open */
    ck_assert_str_eq(a.text, "250 b\r\n221 bye\r\n");
    conn_close_after_output(&a.c);
    expect(&a, "SIEE", "end of both");
    conn_close(&a.c);
    expect(&b, "SIE", "end of both");
}
END_TEST

/* Output in clear goes first, output from then on waits. */
START_TEST(start_in_the_middle)
{
    int fd[2];

    make_pair(fd);
    open_side(&a, fd[0]);
    open_side(&b, fd[1]);
    write_text(&a, "STARTTLS\r\nMAIL FROM:<evil>\r\n");
    expect(&b, "I", "command");
    write_text(&b, "220 go\r\n");
    start(&b, server, NULL);
    write_text(&b, "secret of b");
    expect_text(&a, "220 go\r\n");
    ck_assert(conn_tls_facts(&b.c) == NULL);
    start(&a, client, NULL);
    write_text(&a, "secret of a");
    expect_text(&b, "STARTTLS\r\nMAIL FROM:<evil>\r\nsecret of a");
    expect_text(&a, "220 go\r\nsecret of b");
    ck_assert_str_eq(b.seen, "ISI");
}
END_TEST

static void take_a_line_then_tls(struct side *s, enum conn_event ev)
{
    if (ev != CONN_INPUT) {
        return;
    } else if (conn_is_tls(&s->c)) {
        take_all(s);
        return;
    }
    conn_consume(&s->c, span_find(conn_input(&s->c), '\n') + 1);
    write_text(s, "220 go\r\n");
    start(s, server, NULL);
    ck_assert_uint_eq(conn_input(&s->c).n, 0);
    conn_consume(&s->c, 10);
}

/* What came in clear behind STARTTLS is never input of the TLS. */
START_TEST(injected_input_is_thrown_away)
{
    int fd[2];

    make_pair(fd);
    open_side(&a, fd[0]);
    open_side(&b, fd[1]);
    b.then = take_a_line_then_tls;
    write_text(&a, "STARTTLS\r\nMAIL FROM:<evil>\r\n");
    expect_text(&a, "220 go\r\n");
    start(&a, client, NULL);
    expect(&a, "IS", "client");
    write_text(&a, "EHLO a\r\n");
    expect_text(&b, "EHLO a\r\n");
}
END_TEST

/* --- resumption ----------------------------------------------------------- */

static struct tls_session *session_of_a(void)
{
    write_text(&b, "250 ok\r\n"); /* tickets go with it */
    expect_text(&a, "250 ok\r\n");
    struct tls_session *s = conn_tls_take_session(&a.c);
    ck_assert_ptr_null(conn_tls_take_session(&a.c));
    return s;
}

static void fill_keys(unsigned char *keys, const char *which)
{
    for (int i = 0; i < TLS_TICKET_KEYS; i++)
        memset(keys + i * TLS_TICKET_KEY, which[i], TLS_TICKET_KEY);
}

static const struct {
    const char *name, *before, *after;
    bool tickets, resumed;
} rotations[] = {
    { "same keys", "abc", "abc", true, true },
    { "next key", "abc", "bac", true, true },
    { "oldest", "abc", "xya", true, true },
    { "gone", "abc", "xyz", true, false },
    { "no tickets", "abc", "abc", false, false },
};

/* Each worker has a context of its own with the same keys. */
START_TEST(resumption)
{
    unsigned char keys[TLS_TICKET_KEYS * TLS_TICKET_KEY];
    const char *name = rotations[_i].name;

    new_server(&ec, rotations[_i].tickets);
    fill_keys(keys, rotations[_i].before);
    tls_server_ticket_keys(server, keys, sizeof keys);
    secure(&(struct tls_want){ "mx.a.test", NULL }, name);
    struct tls_session *s = session_of_a();
    ck_assert_msg((s != NULL) == rotations[_i].tickets, "%s: session", name);
    close_all();
    new_server(&ec, rotations[_i].tickets);
    fill_keys(keys, rotations[_i].after);
    tls_server_ticket_keys(server, keys, sizeof keys);
    secure(&(struct tls_want){ "mx.a.test", s }, name);
    const struct tls_facts *f = conn_tls_facts(&a.c);
    ck_assert_msg(f->resumed == rotations[_i].resumed, "%s: resumed", name);
    ck_assert_msg(conn_tls_facts(&b.c)->resumed == f->resumed, "%s", name);
    ck_assert_msg(f->chain_good && conn_tls_names(&a.c, "mx.a.test"),
                  "%s: the certificate is known from before", name);
    tls_session_free(&s);
    if (rotations[_i].tickets) {
        s = session_of_a();
        ck_assert_msg(s != NULL, "%s: a new one", name);
        tls_session_free(&s);
    }
}
END_TEST

/* --- certificates --------------------------------------------------------- */

enum from { OUR_CA, OTHER_CA, SELF };

static const struct {
    const char *name;
    enum from from;
    bool expired;
    const char *why; /* a part of it; NULL: good */
} chains[] = {
    { "good", OUR_CA, false, NULL },
    { "expired", OUR_CA, true, "expired" },
    { "another CA", OTHER_CA, false, "unable to get local issuer" },
    { "self-signed", SELF, false, "self-signed" },
};

START_TEST(chain)
{
    const struct cert_made *issuers[] = { &ca, &other_ca, NULL };
    struct cert_made cert;
    const char *name = chains[_i].name;

    cert_make(&cert, &(struct cert_wish){ .names = "mx.a.test",
                                          .issuer = issuers[chains[_i].from],
                                          .expired = chains[_i].expired });
    new_server(&cert, true);
    secure(NULL, name);
    const struct tls_facts *f = conn_tls_facts(&a.c);
    ck_assert_msg(f->chain_good == (chains[_i].why == NULL), "%s: %s", name,
                  f->why == NULL ? "good" : f->why);
    ck_assert_msg(conn_tls_names(&a.c, "mx.a.test") == f->chain_good, "%s",
                  name);
    if (chains[_i].why != NULL)
        ck_assert_msg(strstr(f->why, chains[_i].why) != NULL, "%s: %s", name,
                      f->why);
    cert_free(&cert);
}
END_TEST

static const struct {
    const char *names, *common, *asked;
    bool fits;
} names[] = {
    { "mx.a.test", NULL, "mx.a.test", true },
    { "mx.a.test", NULL, "MX.A.Test", true },
    { "mx.a.test", NULL, "mx.a.test.", true },
    { "mx.a.test", NULL, "a.test", false },
    { "mx.a.test", NULL, ".a.test", false },
    { "mx.a.test", NULL, "", false },
    { "mx.a.test", NULL, ".", false },
    { "mx.a.test", NULL, "x.mx.a.test", false },
    { "b.test mx.a.test", NULL, "mx.a.test", true },
    { "*.a.test", NULL, "mx.a.test", true },
    { "*.a.test", NULL, "y.mx.a.test", false },
    { "*.a.test", NULL, "a.test", false },
    { "m*.a.test", NULL, "mx.a.test", false },
    { "*", NULL, "test", false },
    { "192.0.2.1", NULL, "192.0.2.1", false },
    { "[192.0.2.1]", NULL, "[192.0.2.1]", false },
    { "mx.a.test", "b.test", "b.test", false },
    { NULL, "b.test", "b.test", true },
};

START_TEST(name)
{
    struct cert_made cert;

    cert_make(&cert, &(struct cert_wish){ .names = names[_i].names,
                                          .common = names[_i].common,
                                          .issuer = &ca });
    new_server(&cert, true);
    secure(NULL, names[_i].asked);
    ck_assert_msg(conn_tls_names(&a.c, names[_i].asked) == names[_i].fits,
                  "%s in %s", names[_i].asked, names[_i].names);
    ck_assert(!conn_tls_names(&b.c, "test"));
    cert_free(&cert);
}
END_TEST

Suite *net_tls_suite(void);
Suite *net_tls_suite(void)
{
    Suite *s = suite_create("net.tls");
    TCase *t = tcase_create("conns");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, both_sides);
    tcase_add_test(t, start_in_the_middle);
    tcase_add_test(t, injected_input_is_thrown_away);
    tcase_add_loop_test(t, resumption, 0, N(rotations));
    tcase_add_loop_test(t, chain, 0, N(chains));
    tcase_add_loop_test(t, name, 0, N(names));
    suite_add_tcase(s, t);
    return s;
}
