/* test_net_tls.c - conns in TLS with each other: what owners see of it. */
#include "tls_duo.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

static struct side *const a = &duo.a, *const b = &duo.b;

/* --- a handshake and after ------------------------------------------------ */

START_TEST(both_sides)
{
    const struct tls_facts *f;

    duo_secure(NULL, "both");
    f = conn_tls_facts(&a->c);
    ck_assert_str_eq(f->version, "TLSv1.3");
    ck_assert_uint_eq(f->version_id, 0x0304);
    ck_assert_str_eq(f->cipher, "TLS_AES_128_GCM_SHA256");
    ck_assert_uint_eq(f->cipher_id, 0x1301);
    ck_assert_str_eq(tls_version_name(f->version_id), f->version);
    ck_assert_str_eq(tls_cipher_name(f->cipher_id), f->cipher);
    ck_assert(!f->resumed && f->chain_good && f->why == NULL);
    f = conn_tls_facts(&b->c);
    ck_assert_str_eq(f->cipher, "TLS_AES_128_GCM_SHA256");
    ck_assert(!f->chain_good && f->why[0] != '\0');
    ck_assert(conn_is_tls(&a->c) && conn_is_tls(&b->c));
    duo_write(a, "EHLO a\r\n");
    duo_expect_text(b, "EHLO a\r\n");
    duo_write(b, "250 b\r\n");
    duo_expect_text(a, "250 b\r\n");
    ck_assert_uint_eq(conn_output_waiting(&b->c), 0);
    ck_assert_uint_eq(pool_used(duo.env.blocks), 0);
    duo_write(b, "221 bye\r\n");
    conn_close_after_output(&b->c);
    duo_expect(a, "SIE", "end"); /* of the TLS: the descriptor is still open */
    ck_assert_str_eq(a->text, "250 b\r\n221 bye\r\n");
    conn_close_after_output(&a->c);
    duo_expect(a, "SIEE", "end of both");
    conn_close(&a->c);
    duo_expect(b, "SIE", "end of both");
}
END_TEST

/* Output in clear goes first, output from then on waits. */
START_TEST(start_in_the_middle)
{
    duo_open_both();
    duo_write(a, "STARTTLS\r\nMAIL FROM:<evil>\r\n");
    duo_expect(b, "I", "command");
    duo_write(b, "220 go\r\n");
    duo_start(b, duo.server, NULL);
    duo_write(b, "secret of b");
    duo_expect_text(a, "220 go\r\n");
    ck_assert(conn_tls_facts(&b->c) == NULL);
    duo_start(a, duo.client, NULL);
    duo_write(a, "secret of a");
    duo_expect_text(b, "STARTTLS\r\nMAIL FROM:<evil>\r\nsecret of a");
    duo_expect_text(a, "220 go\r\nsecret of b");
    ck_assert_str_eq(b->seen, "ISI");
}
END_TEST

static void take_a_line_then_tls(struct side *s, enum conn_event ev)
{
    if (ev != CONN_INPUT) {
        return;
    } else if (conn_is_tls(&s->c)) {
        duo_take_all(s);
        return;
    }
    conn_consume(&s->c, span_find(conn_input(&s->c), '\n') + 1);
    duo_write(s, "220 go\r\n");
    duo_start(s, duo.server, NULL);
    ck_assert_uint_eq(conn_input(&s->c).n, 0);
    conn_consume(&s->c, 10);
}

/* What came in clear behind STARTTLS is never input of the TLS. */
START_TEST(injected_input_is_thrown_away)
{
    duo_open_both();
    b->then = take_a_line_then_tls;
    duo_write(a, "STARTTLS\r\nMAIL FROM:<evil>\r\n");
    duo_expect_text(a, "220 go\r\n");
    duo_start(a, duo.client, NULL);
    duo_expect(a, "IS", "client");
    duo_write(a, "EHLO a\r\n");
    duo_expect_text(b, "EHLO a\r\n");
}
END_TEST

/* --- resumption ----------------------------------------------------------- */

static struct tls_session *session_of_a(void)
{
    duo_write(b, "250 ok\r\n"); /* tickets go with it */
    duo_expect_text(a, "250 ok\r\n");
    struct tls_session *s = conn_tls_take_session(&a->c);
    ck_assert_ptr_null(conn_tls_take_session(&a->c));
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

    duo_new_server(&duo.ec, rotations[_i].tickets);
    fill_keys(keys, rotations[_i].before);
    tls_server_ticket_keys(duo.server, keys, sizeof keys);
    duo_secure(&(struct tls_want){ .sni = "mx.a.test" }, name);
    struct tls_session *s = session_of_a();
    ck_assert_msg((s != NULL) == rotations[_i].tickets, "%s: session", name);
    duo_close_all();
    duo_new_server(&duo.ec, rotations[_i].tickets);
    fill_keys(keys, rotations[_i].after);
    tls_server_ticket_keys(duo.server, keys, sizeof keys);
    duo_secure(&(struct tls_want){ .sni = "mx.a.test", .resume = s }, name);
    const struct tls_facts *f = conn_tls_facts(&a->c);
    ck_assert_msg(f->resumed == rotations[_i].resumed, "%s: resumed", name);
    ck_assert_msg(conn_tls_facts(&b->c)->resumed == f->resumed, "%s", name);
    ck_assert_msg(f->chain_good && conn_tls_names(&a->c, "mx.a.test"),
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
    const struct cert_made *issuers[] = { &duo.ca, &duo.other_ca, NULL };
    struct cert_made cert;
    const char *name = chains[_i].name;

    cert_make(&cert, &(struct cert_wish){ .names = "mx.a.test",
                                          .issuer = issuers[chains[_i].from],
                                          .expired = chains[_i].expired });
    duo_new_server(&cert, true);
    duo_secure(NULL, name);
    const struct tls_facts *f = conn_tls_facts(&a->c);
    ck_assert_msg(f->chain_good == (chains[_i].why == NULL), "%s: %s", name,
                  f->why == NULL ? "good" : f->why);
    ck_assert_msg(conn_tls_names(&a->c, "mx.a.test") == f->chain_good, "%s",
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
                                          .issuer = &duo.ca });
    duo_new_server(&cert, true);
    duo_secure(NULL, names[_i].asked);
    ck_assert_msg(conn_tls_names(&a->c, names[_i].asked) == names[_i].fits,
                  "%s in %s", names[_i].asked, names[_i].names);
    ck_assert(!conn_tls_names(&b->c, "test"));
    cert_free(&cert);
}
END_TEST

Suite *net_tls_suite(void);
Suite *net_tls_suite(void)
{
    Suite *s = suite_create("net.tls");
    TCase *t = tcase_create("conns");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, duo_set_up, duo_tear_down);
    tcase_add_test(t, both_sides);
    tcase_add_test(t, start_in_the_middle);
    tcase_add_test(t, injected_input_is_thrown_away);
    tcase_add_loop_test(t, resumption, 0, N(rotations));
    tcase_add_loop_test(t, chain, 0, N(chains));
    tcase_add_loop_test(t, name, 0, N(names));
    suite_add_tcase(s, t);
    return s;
}
