/* test_mail_dkim.c - canonicalisation, header and field, by the examples of RFC
 * 6376 and RFC 8463. */
#include "base/base64.h"
#include "mail/dkim_body.h"
#include "mail/dkim_canon.h"
#include "mail/dkim_sign.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static void keep(void *ctx, const char *p, size_t n)
{
    buf_add(ctx, p, n);
}

/* --- bodies --------------------------------------------------------------- */

static const struct {
    const char *body, *relaxed;
} bodies[] = {
    { "", "" },
    { "\r\n", "" },
    { "\r\n\r\n\r\n", "" },
    { " \t\r\n\t \r\n", "" },
    { "   ", "" },
    { " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n" }, /* RFC 6376 3.4.5 */
    { "a", "a\r\n" },
    { "a\r\n", "a\r\n" },
    { "a \r\n \r\n", "a\r\n" },
    { "a\r\n\r\nb", "a\r\n\r\nb\r\n" },
    { "\r\n\r\nb\r\n\r\n", "\r\n\r\nb\r\n" },
    { "a  b   c\t\td e\r\n", "a b c d e\r\n" },
    { "a\nb\rc\r\n", "a\nb\rc\r\n" }, /* no line ends */
    { "a \r", "a \r\r\n" },
    { "a\r\r\nb", "a\r\r\nb\r\n" },
    { " \n \r\n", " \n\r\n" },
    { "\xc3\xa4 \xff\r\n", "\xc3\xa4 \xff\r\n" },
};

/* In one piece, and with each octet by itself. */
START_TEST(relaxed_bodies)
{
    const char *in = bodies[_i].body;
    char one[100] = "", many[100] = "";
    struct buf a = BUF_ON(one), b = BUF_ON(many);
    struct dkim_canon c = { .put = keep, .ctx = &a };
    struct dkim_canon d = { .put = keep, .ctx = &b };

    dkim_canon_body(&c, in, strlen(in));
    dkim_canon_body_end(&c);
    for (size_t i = 0; i < strlen(in); i++)
        dkim_canon_body(&d, in + i, 1);
    dkim_canon_body_end(&d);
    ck_assert_str_eq(one, bodies[_i].relaxed);
    ck_assert_str_eq(many, bodies[_i].relaxed);
}
END_TEST

/* --- fields --------------------------------------------------------------- */

static const struct {
    const char *value, *relaxed;
} values[] = {
    { " X\r\n", "X" }, /* RFC 6376 3.4.5 */
    { " Y\t\r\n\tZ  \r\n", "Y Z" },
    { "", "" },
    { "\r\n", "" },
    { "\r\n \r\n", "" },
    { "  a  ", "a" },
    { "a\r\n  b\r\n\tc \t\r\n", "a b c" },
    { " a\r b\nc\r\n", "a\r b\nc" },
    { "a\r", "a\r" },
};

START_TEST(relaxed_values)
{
    const char *in = values[_i].value;
    char one[100] = "", many[100] = "";
    struct buf a = BUF_ON(one), b = BUF_ON(many);
    struct dkim_canon c = { .put = keep, .ctx = &a };
    struct dkim_canon d = { .put = keep, .ctx = &b };

    dkim_canon_value(&c, in, strlen(in));
    dkim_canon_value_end(&c);
    for (size_t i = 0; i < strlen(in); i++)
        dkim_canon_value(&d, in + i, 1);
    dkim_canon_value_end(&d);
    ck_assert_str_eq(one, values[_i].relaxed);
    ck_assert_str_eq(many, values[_i].relaxed);
}
END_TEST

/* The names of the fields found, from the top, and where the body begins. */
static const struct {
    const char *text, *fields;
    unsigned nfrom;
    size_t header;
    bool ended;
} headers[] = {
    { "From: a\r\nTo: b\r\n\r\nFrom: c\r\n", "to", 1, 18, true },
    { "\r\nFrom: c\r\n", "", 0, 2, true },
    { "From : a\r\nFROM  \t  : b\r\n\r\n", "", 2, 26, true },
    { "From                                                : b\r\n\r\n", "", 1,
      59, true },
    { "Fr om: a\r\nReceived: x\r\n from: y\r\n\r\n", "", 0, 35, true },
    { "Subject: a\r\nSubject: b\r\nsubject:c", "subject subject subject", 0, 33,
      false },
    { "no field\r\nTo: b\r\n\rTo: c\r\n\r\n", "to", 0, 27, true },
    { "From\r\n: a\r\n\r\n", "", 0, 13, true },
    { "List-Unsubscribe: <u>\r\nList-Unsubscribe-Post: p\r\n\r\n",
      "list-unsubscribe list-unsubscribe-post", 0, 51, true },
    { "List-Unsubscribe-Postal: p\r\nX-From: y\r\n\r\n", "", 0, 41, true },
};

START_TEST(header_fields)
{
    const char *in = headers[_i].text;
    size_t n = strlen(in);

    for (size_t step = 1; step <= n; step += n - 1 > 0 ? n - 1 : 1) {
        struct dkim_header h = { .nfrom = 0 };
        char text[200] = "";
        struct buf b = BUF_ON(text);
        size_t used = 0, got = step;

        while (used < n && got == step) {
            size_t piece = n - used < step ? n - used : step;
            got = dkim_header_scan(&h, in + used, piece);
            used += got;
        }
        dkim_header_end(&h);
        for (uint64_t i = 0; i < h.nfields; i++)
            buf_addf(&b, "%s%s", i > 0 ? " " : "",
                     dkim_header_name(h.field[i].name));
        ck_assert_str_eq(text, headers[_i].fields);
        ck_assert_uint_eq(h.nfrom, headers[_i].nfrom);
        ck_assert_uint_eq(h.at, headers[_i].header);
        ck_assert_int_eq(h.ended, headers[_i].ended);
    }
}
END_TEST

/* Of more fields than are signed, the lowest are kept. */
START_TEST(many_fields)
{
    struct dkim_header h = { .nfrom = 0 };
    char field[40];
    uint64_t at = 0;

    for (int i = 0; i < 1000; i++) {
        size_t n = (size_t)snprintf(field, sizeof field, "To: %d\r\n", i);
        at += dkim_header_scan(&h, field, n);
    }
    dkim_header_end(&h);
    ck_assert_uint_eq(h.at, at);
    ck_assert_uint_eq(h.nfields, 1000);
    ck_assert_uint_eq(h.field[999 % DKIM_FIELDS_MAX].at +
                          h.field[999 % DKIM_FIELDS_MAX].n,
                      at);
}
END_TEST

/* --- From ----------------------------------------------------------------- */

static const struct {
    const char *from, *domain, *why;
} froms[] = {
    { "a@b.example", "b.example", NULL },
    { " Ann <ann@B.Example>\r\n", "b.example", NULL },
    { " \"a@x, b <c@y>\" <ann@b.example>", "b.example", NULL },
    { " Ann @ home <ann@b.example>", "b.example", NULL },
    { " (a (nested@x) \\) c@y) ann@b.example (d@z)", "b.example", NULL },
    { " \"q@x\"@b.example", "b.example", NULL },
    { " <@relay.example,@two.example:ann@b.example>", "b.example", NULL },
    { " a@b.example, Bob <c@b.example>", "b.example", NULL },
    { " a@b.example, c@d.example", "", "addresses of several domains" },
    { " Us: a@b.example, c@b.example;", "b.example", NULL },
    { " undisclosed:;", "", "no address" },
    { "", "", "no address" },
    { " ann", "", "no address" },
    { " ann@", "", "an address without a valid domain" },
    { " <ann@>", "", "an address without a valid domain" },
    { " ann@b . example", "b.example", NULL },
    { " ann@b\r\n\t.example", "b.example", NULL },
    { " ann@b.example.", "b.example", NULL },
    { " ann@m\xc3\xbcller.example", "xn--mller-kva.example", NULL },
    { " ann@\xff.example", "", "an address without a valid domain" },
    { " \"unterminated <a@b.example>", "", "no address" },
    { " (unterminated <a@b.example>", "", "no address" },
};

START_TEST(domain_of_from)
{
    char domain[IDN_MAX];
    const char *why = dkim_from_domain(domain, span_of(froms[_i].from));

    ck_assert_msg((why == NULL) == (froms[_i].why == NULL), "%s: %s",
                  froms[_i].from, why);
    if (why != NULL)
        ck_assert_str_eq(why, froms[_i].why);
    ck_assert_str_eq(domain, froms[_i].domain);
}
END_TEST

/* --- the whole, RFC 8463 A ------------------------------------------------ */

static const char ed25519[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n";

#define FROM "Joe SixPack <joe@football.example.com>"
#define TO "Suzie Q <suzie@shopping.example.net>"
#define DATE "Fri, 11 Jul 2003 21:00:37 -0700 (PDT)"
#define ID "<20030712040037.46341.5F8J@football.example.com>"
#define TEXT "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
static const char message[] =
    "From: " FROM "\r\nTo: " TO "\r\nSubject: Is dinner ready?\r\nDate: " DATE
    "\r\nMessage-ID: " ID "\r\n\r\n" TEXT;
static const char bh[] = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

static void body_hash(unsigned char out[DIGEST_SIZE], size_t step)
{
    struct dkim_body *b = NULL;
    struct err e;

    ck_assert_int_eq(dkim_body_new(&b, &e), 0);
    for (size_t at = 0; at < sizeof message - 1; at += step) {
        size_t left = sizeof message - 1 - at;
        dkim_body_add(b, message + at, left < step ? left : step);
    }
    ck_assert(dkim_body_end(b, out));
    dkim_body_free(&b);
}

START_TEST(body_hash_of_rfc)
{
    for (size_t step = 1; step < sizeof message; step++) {
        unsigned char hash[DIGEST_SIZE];
        char text[64];
        struct buf b = BUF_ON(text);
        body_hash(hash, step);
        base64_encode(&b, (struct span){ (const char *)hash, DIGEST_SIZE });
        ck_assert_str_eq(text, bh);
    }
}
END_TEST

static void put(void *ctx, const char *p, size_t n)
{
    digest_add(ctx, p, n);
}

static void add_field(struct digest *d, const char *name, const char *value)
{
    struct dkim_canon c = { .put = put, .ctx = d };

    digest_add(d, name, strlen(name));
    dkim_canon_value(&c, value, strlen(value));
    dkim_canon_value_end(&c);
    if (strcmp(name, "dkim-signature:") != 0)
        digest_add(d, "\r\n", 2);
}

/* Its fields in its order, and its signature. */
START_TEST(signature_of_rfc)
{
    unsigned char hash[DIGEST_SIZE];
    struct digest_signature sig;
    struct digest_key *k = NULL;
    struct digest *d = NULL;
    char text[200];
    struct buf b = BUF_ON(text);
    struct err e;

    ck_assert_int_eq(digest_key_parse(&k, span_of(ed25519), &e), 0);
    ck_assert_int_eq(digest_new(&d, &e), 0);
    add_field(d, "from:", " " FROM "\r\n");
    add_field(d, "to:", " " TO "\r\n");
    add_field(d, "subject:", " Is dinner ready?\r\n");
    add_field(d, "date:", " " DATE "\r\n");
    add_field(d, "message-id:", " " ID "\r\n");
    add_field(d, "dkim-signature:",
              " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
              " d=football.example.com; i=@football.example.com;\r\n"
              " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
              " subject : date : message-id : from : subject : date;\r\n"
              " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
              " b=");
    ck_assert(digest_end(d, hash));
    ck_assert_int_eq(digest_key_sign(k, hash, &sig, &e), 0);
    base64_encode(&b, (struct span){ (const char *)sig.octets, sig.n });
    ck_assert_str_eq(text, "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4"
                           "D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
    digest_free(&d);
    digest_key_free(&k);
}
END_TEST

/* Our own field of that message. */
START_TEST(whole_field)
{
    static const char want[] =
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        "\td=football.example.com; s=brisbane; t=1528637909; "
        "h=from:from:subject:date\r\n"
        "\t:to:message-id:subject:date:to:message-id;\r\n"
        "\tbh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        "\tb=";
    const struct dkim_signer s = { "football.example.com", "brisbane",
                                   DIGEST_KEY_ED25519, 1528637909 };
    struct chain chain = CHAIN_INIT;
    struct pool *pool = chain_pool_new(4);
    unsigned char hash[DIGEST_SIZE], own[DIGEST_SIZE], by_hand[DIGEST_SIZE];
    struct dkim_header h = { .nfrom = 0 };
    struct digest_signature sig = { .n = 256 };
    struct digest *d = NULL;
    char text[DKIM_FIELD_MAX];
    struct buf b = BUF_ON(text);
    struct err e;

    ck_assert(chain_add(&chain, pool, message, sizeof message - 1));
    struct body body = body_of_chain(&chain, 0);
    dkim_header_scan(&h, message, sizeof message - 1);
    body_hash(hash, 100);
    ck_assert_int_eq(digest_new(&d, &e), 0);
    dkim_field_begin(&b, &s, &h, hash);
    ck_assert_str_eq(text, want);
    ck_assert_int_eq(dkim_header_hash(own, d, &h, &body, buf_span(&b), &e), 0);
    digest_start(d);
    add_field(d, "from:", FROM);
    add_field(d, "subject:", "Is dinner ready?");
    add_field(d, "date:", DATE);
    add_field(d, "to:", TO);
    add_field(d, "message-id:", ID);
    add_field(d, "dkim-signature:", want + strlen("DKIM-Signature:"));
    ck_assert(digest_end(d, by_hand));
    ck_assert_mem_eq(own, by_hand, DIGEST_SIZE);
    memset(sig.octets, 0xfb, sizeof sig.octets);
    dkim_field_end(&b, &sig);
    ck_assert(!b.full);
    for (const char *line = text; *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        ck_assert_ptr_nonnull(end);
        ck_assert_int_lt(end - line, 78);
        ck_assert(line == text || *line == '\t');
        line = end + 2;
    }
    digest_free(&d);
    chain_clear(&chain, pool);
    pool_free(&pool);
}
END_TEST

Suite *mail_dkim_suite(void);
Suite *mail_dkim_suite(void)
{
    Suite *s = suite_create("mail.dkim");
    TCase *t = tcase_create("dkim");

#define LOOP(fn, table)                                                        \
    tcase_add_loop_test(t, fn, 0, sizeof table / sizeof table[0])
    LOOP(relaxed_bodies, bodies);
    LOOP(relaxed_values, values);
    LOOP(header_fields, headers);
    LOOP(domain_of_from, froms);
    tcase_add_test(t, many_fields);
    tcase_add_test(t, body_hash_of_rfc);
    tcase_add_test(t, signature_of_rfc);
    tcase_add_test(t, whole_field);
    suite_add_tcase(s, t);
    return s;
}
