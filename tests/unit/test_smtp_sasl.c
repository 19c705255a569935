/* test_smtp_sasl.c - exchanges of each mechanism, and servers that break
 * them. */
#include "base/base64.h"
#include "smtp/sasl.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define N(table) (int)(sizeof(table) / sizeof((table)[0]))
#define NONCE "rOprNGfwEbeRWgbNEkqO"
#define BOTH NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SALT ",s=W22ZaJ0SNY7soEsUEjb6gQ=="
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SIGNED "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
#define GOOD1 "r=" BOTH SALT ",i=4096"

static const unsigned char octets[SASL_NONCE * 3 / 4];

static void begin(struct sasl *s, enum sasl_mechanism m,
                  const struct sasl_login *l)
{
    sasl_begin(s, m, l, octets);
    snprintf(s->nonce, sizeof s->nonce, "%s", NONCE);
}

static unsigned slices; /* of the last step */

/* Both sides without base64. */
static int step(struct sasl *s, const char *challenge, char *got, size_t size,
                struct err *e)
{
    char in[4096], out[SASL_LINE_MAX];
    struct buf i = BUF_ON(in), o = BUF_ON(out), g;

    memset(got, 0, size);
    buf_init(&g, got, size);
    base64_encode(&i, span_of(challenge));
    int rc = sasl_respond(s, buf_span(&i), &o, e);
    for (slices = 0; rc > 0; slices++)
        rc = sasl_go_on(s, &o, e);
    if (rc != 0) {
        ck_assert_uint_eq(o.n, 0); /* nothing of a failed response */
        return -1;
    }
    ck_assert_int_eq(base64_decode(&g, buf_span(&o), e), 0);
    return (int)g.n;
}

/* --- whole exchanges ------------------------------------------------- */

/* What the server sends, and our response; the last one has no NULL. */
static const struct {
    const char *name;
    enum sasl_mechanism mechanism;
    const char *user, *secret;
    const char *says[4], *answers[4];
    int n[4]; /* of an answer with NUL in it; 0: strlen() */
} good[] = {
    { "RFC 7677 3",
      SASL_SCRAM_SHA_256,
      "user",
      "pencil",
      { "", GOOD1, "v=" SIGNED },
      { "n,,n=user,r=" NONCE, "c=biws,r=" BOTH ",p=" PROOF, "" },
      { 0 } },
    { "PLAIN, RFC 4616 4",
      SASL_PLAIN,
      "tim",
      "tanstaaftanstaaf",
      { "" },
      { "\0tim\0tanstaaftanstaaf" },
      { 21 } },
    { "LOGIN",
      SASL_LOGIN,
      "tim",
      "a b",
      { "Username:", "Password:" },
      { "tim", "a b" },
      { 0 } },
    { "XOAUTH2",
      SASL_XOAUTH2,
      "someuser@example.com",
      "ya29.vF9dft4qmTc2Nvb3",
      { "" },
      { "user=someuser@example.com\001auth=Bearer ya29.vF9dft4qmTc2Nvb3"
        "\001\001" },
      { 0 } },
    { "OAUTHBEARER, RFC 7628 4.1",
      SASL_OAUTHBEARER,
      "user@example.com",
      "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
      { "" },
      { "n,a=user@example.com,\001host=server.example.com\001port=587\001"
        "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\001\001" },
      { 0 } },
};

static struct sasl_login login(const char *user, const char *secret)
{
    return (struct sasl_login){ span_of(user), span_of(secret),
                                SPAN_LIT("server.example.com"), 587 };
}

START_TEST(exchange)
{
    struct sasl_login l = login(good[_i].user, good[_i].secret);
    struct sasl s;
    struct err e = { 0 };
    char got[4096];

    begin(&s, good[_i].mechanism, &l);
    ck_assert_int_eq(sasl_succeed(&s, &e), -1); /* not before a response */
    for (int i = 0; i < 4 && good[_i].says[i] != NULL; i++) {
        int n = step(&s, good[_i].says[i], got, sizeof got, &e);
        int want = good[_i].n[i] != 0 ? good[_i].n[i]
                                      : (int)strlen(good[_i].answers[i]);
        ck_assert_msg(n == want, "%s: %d: %s", good[_i].name, i, e.text);
        ck_assert_msg(memcmp(got, good[_i].answers[i], (size_t)n) == 0,
                      "%s: %d: %s", good[_i].name, i, got);
    }
    ck_assert_msg(sasl_succeed(&s, &e) == 0, "%s: %s", good[_i].name, e.text);
    if (!sasl_takes_token(good[_i].mechanism))
        ck_assert_int_eq(step(&s, "", got, sizeof got, &e), -1);
    sasl_end(&s);
    ck_assert_ptr_null(s.login);
}
END_TEST

/* --- SCRAM: servers that are none ------------------------------------ */

static const struct {
    const char *name, *first, *final, *fault; /* final NULL: first fails */
} scram[] = {
    { "wrong signature", GOOD1,
      "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "signature" },
    { "short signature", GOOD1, "v=6rriTQ==", "signature" },
    { "signature that is no base64", GOOD1, "v=6rriTRBi23W", "signature" },
    { "empty signature", GOOD1, "v=", "signature" },
    { "none at all", GOOD1, "", "not SCRAM" },
    { "an error instead", GOOD1, "e=invalid-proof", "reports invalid-proof" },
    { "an error at once", "e=unknown-user", NULL, "reports unknown-user" },
    { "empty", "", NULL, "not SCRAM" },
    { "another nonce", "r=xOprNGfwEbeRWgbNEkqOabc" SALT ",i=4096", NULL,
      "not ours" },
    { "no nonce of its own", "r=" NONCE SALT ",i=4096", NULL, "not ours" },
    { "half our nonce", "r=rOprNGf" SALT ",i=4096", NULL, "not ours" },
    { "mandatory extension", "m=x,r=" BOTH SALT ",i=4096", NULL, "not SCRAM" },
    { "no salt", "r=" BOTH ",s=,i=4096", NULL, "salt" },
    { "bad salt", "r=" BOTH ",s=W2,i=4096", NULL, "salt" },
    { "salt missing", "r=" BOTH ",i=4096", NULL, "not SCRAM" },
    { "few rounds", "r=" BOTH SALT ",i=4095", NULL, "rounds" },
    { "no rounds", "r=" BOTH SALT ",i=", NULL, "rounds" },
    { "negative rounds", "r=" BOTH SALT ",i=-1", NULL, "rounds" },
    { "rounds for hours", "r=" BOTH SALT ",i=4294967295", NULL, "rounds" },
    { "rounds beyond a number", "r=" BOTH SALT ",i=99999999999999999999999",
      NULL, "rounds" },
};

START_TEST(scram_refused)
{
    struct sasl_login l = login("user", "pencil");
    struct sasl s;
    struct err e = { 0 };
    char got[4096];

    begin(&s, SASL_SCRAM_SHA_256, &l);
    ck_assert_int_gt(step(&s, "", got, sizeof got, &e), 0);
    int rc = step(&s, scram[_i].first, got, sizeof got, &e);
    ck_assert_msg((rc < 0) == (scram[_i].final == NULL), "%s", scram[_i].name);
    if (rc >= 0)
        ck_assert_int_eq(step(&s, scram[_i].final, got, sizeof got, &e), -1);
    ck_assert_msg(strstr(e.text, scram[_i].fault) != NULL, "%s: %s",
                  scram[_i].name, e.text);
    ck_assert_int_eq(sasl_succeed(&s, &e), -1);
}
END_TEST

/* 235 without the signature: anybody could be that server. */
START_TEST(scram_needs_proof)
{
    struct sasl_login l = login("user", "pencil");
    struct sasl s;
    struct err e;
    char got[4096];

    begin(&s, SASL_SCRAM_SHA_256, &l);
    ck_assert_int_gt(step(&s, "", got, sizeof got, &e), 0);
    ck_assert_int_gt(step(&s, GOOD1, got, sizeof got, &e), 0);
    ck_assert_int_eq(sasl_succeed(&s, &e), -1);
    ck_assert(strstr(e.text, "did not prove") != NULL);
}
END_TEST

/* No slice is longer than 2000 rounds, whatever the server asks for. */
START_TEST(scram_salts_in_slices)
{
    struct sasl_login l = login("user", "pencil");
    struct sasl s;
    struct err e;
    char got[4096];

    begin(&s, SASL_SCRAM_SHA_256, &l);
    ck_assert_int_gt(step(&s, "", got, sizeof got, &e), 0);
    ck_assert_int_gt(step(&s, "r=" BOTH SALT ",i=20001", got, sizeof got, &e),
                     0);
    ck_assert_uint_eq(slices, 10);
    sasl_end(&s);
    begin(&s, SASL_SCRAM_SHA_256, &l);
    ck_assert_int_gt(step(&s, "", got, sizeof got, &e), 0);
    struct buf o = BUF_ON(got);
    char in[256];
    struct buf i = BUF_ON(in);
    base64_encode(&i, span_of(GOOD1));
    ck_assert_int_eq(sasl_respond(&s, buf_span(&i), &o, &e), 1);
    ck_assert_int_eq(sasl_respond(&s, buf_span(&i), &o, &e), -1);
    ck_assert_uint_eq(o.n, 0);
    sasl_end(&s);
}
END_TEST

START_TEST(scram_escapes_the_user)
{
    struct sasl_login l = login("a=b,c", "pencil");
    struct sasl s;
    struct err e;
    char got[4096];

    begin(&s, SASL_SCRAM_SHA_256, &l);
    ck_assert_int_gt(step(&s, "", got, sizeof got, &e), 0);
    ck_assert_str_eq(got, "n,,n=a=3Db=2Cc,r=" NONCE);
}
END_TEST

/* --- tokens ---------------------------------------------------------- */

START_TEST(token_denied)
{
    static const char json[] = "{\"status\":\"401\",\"schemes\":\"Bearer\"}";
    enum sasl_mechanism m = _i == 0 ? SASL_XOAUTH2 : SASL_OAUTHBEARER;
    struct sasl_login l = login("u", "t");
    struct sasl s;
    struct err e;
    char got[256];

    begin(&s, m, &l);
    ck_assert_int_gt(step(&s, "", got, sizeof got, &e), 0);
    ck_assert_int_eq(step(&s, json, got, sizeof got, &e), _i);
    ck_assert_str_eq(got, _i == 0 ? "" : "\001");
    ck_assert_str_eq(s.denial, json);
    ck_assert_int_eq(step(&s, json, got, sizeof got, &e), -1);
}
END_TEST

/* --- limits, for each mechanism -------------------------------------- */

START_TEST(long_challenge)
{
    static char big[65536];
    struct sasl_login l = login("user", "pencil");
    char out[SASL_LINE_MAX], got[4096];
    struct buf o = BUF_ON(out);
    struct sasl s;
    struct err e;

    memset(big, 'A', sizeof big);
    begin(&s, (enum sasl_mechanism)_i, &l);
    ck_assert_int_ge(step(&s, "", got, sizeof got, &e), 0);
    ck_assert_int_eq(sasl_respond(&s, (struct span){ big, sizeof big }, &o, &e),
                     -1);
    ck_assert_int_eq(e.kind, ERR_PROTO);
    ck_assert_uint_eq(o.n, 0);
}
END_TEST

/* Not longer than a line may be, nor than the room that there is. */
START_TEST(long_secret)
{
    static char big[SASL_TOKEN_MAX + 1];
    struct sasl_login l = login("user", "pencil");
    char out[SASL_LINE_MAX], small[16];
    struct buf o = BUF_ON(out), little = BUF_ON(small);
    struct sasl s;
    struct err e;

    memset(big, 'A', SASL_TOKEN_MAX);
    begin(&s, SASL_PLAIN, &l);
    ck_assert_int_eq(sasl_respond(&s, span_of(""), &little, &e), -1);
    l.secret = (struct span){ big, 9000 };
    ck_assert_int_eq(sasl_respond(&s, span_of(""), &o, &e), 0);
    ck_assert_uint_lt(o.n, SASL_LINE_MAX - 1);
    o.n = 0;
    s.step = 0;
    l.secret.n = 9300;
    ck_assert_int_eq(sasl_respond(&s, span_of(""), &o, &e), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
    l.secret.n = SASL_TOKEN_MAX;
    ck_assert_int_eq(sasl_respond(&s, span_of(""), &o, &e), -1);
}
END_TEST

static const struct {
    enum sasl_mechanism mechanism;
    struct span user, secret;
} unfit[] = {
    { SASL_PLAIN, { "a\0b", 3 }, { "x", 1 } },
    { SASL_PLAIN, { "a", 1 }, { "x\0y", 3 } },
    { SASL_PLAIN, { "a", 1 }, { "", 0 } },
    { SASL_PLAIN, { "", 0 }, { "x", 1 } },
    { SASL_XOAUTH2, { "a", 1 }, { "x\001y", 3 } },
    { SASL_XOAUTH2, { "a", 1 }, { "x y", 3 } },
    { SASL_OAUTHBEARER, { "a", 1 }, { "x\r\n", 3 } },
};

START_TEST(unfit_login)
{
    struct sasl_login l = { unfit[_i].user, unfit[_i].secret, { NULL, 0 }, 25 };
    char out[256];
    struct buf o = BUF_ON(out);
    struct sasl s;
    struct err e;

    begin(&s, unfit[_i].mechanism, &l);
    ck_assert_int_eq(sasl_respond(&s, span_of(""), &o, &e), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
}
END_TEST

/* --- choice ---------------------------------------------------------- */

#define BIT(m) (1u << (m))

static const struct {
    const char *offered;
    unsigned allowed;
    enum sasl_mechanism best;
} choices[] = {
    { "PLAIN LOGIN SCRAM-SHA-256", ~0u, SASL_SCRAM_SHA_256 },
    { "login plain", ~0u, SASL_PLAIN },
    { "LOGIN", ~0u, SASL_LOGIN },
    { "LOGIN", BIT(SASL_PLAIN), SASL_NONE },
    { "PLAIN SCRAM-SHA-256", BIT(SASL_PLAIN), SASL_PLAIN },
    { "SCRAM-SHA-256-PLUS XPLAIN PLAINX", ~0u, SASL_NONE },
    { "XOAUTH2 OAUTHBEARER PLAIN", BIT(SASL_XOAUTH2) | BIT(SASL_OAUTHBEARER),
      SASL_OAUTHBEARER },
    { "", ~0u, SASL_NONE },
    { "GSSAPI", ~0u, SASL_NONE },
};

START_TEST(choose)
{
    ck_assert_int_eq(
        sasl_choose(span_of(choices[_i].offered), choices[_i].allowed),
        choices[_i].best);
}
END_TEST

Suite *smtp_sasl_suite(void);
Suite *smtp_sasl_suite(void)
{
    Suite *s = suite_create("smtp.sasl");
    TCase *t = tcase_create("sasl");

    tcase_add_loop_test(t, exchange, 0, N(good));
    tcase_add_loop_test(t, scram_refused, 0, N(scram));
    tcase_add_test(t, scram_needs_proof);
    tcase_add_test(t, scram_salts_in_slices);
    tcase_add_test(t, scram_escapes_the_user);
    tcase_add_loop_test(t, token_denied, 0, 2);
    tcase_add_loop_test(t, long_challenge, 0, SASL_MECHANISMS);
    tcase_add_test(t, long_secret);
    tcase_add_loop_test(t, unfit_login, 0, N(unfit));
    tcase_add_loop_test(t, choose, 0, N(choices));
    suite_add_tcase(s, t);
    return s;
}
