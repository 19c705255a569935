/* test_smtp_address.c - mailboxes. */
#include "smtp/address.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum {
    OK = SMTP_ADDRESS_OK,
    EMPTY = SMTP_ADDRESS_EMPTY,
    LOCAL = SMTP_ADDRESS_LOCAL,
    DOMAIN = SMTP_ADDRESS_DOMAIN,
    NO_DOMAIN = SMTP_ADDRESS_NO_DOMAIN,
    ROUTE = SMTP_ADDRESS_ROUTE
};

/* clang-format off */
static const struct {
    const char *in;
    int error;
    const char *local, *domain; /* what is checked when it parses */
    bool is_literal, is_utf8;
} cases[] = {
    { "a@b", OK, "a", "b", false, false },
    { "john.doe@example.com", OK, "john.doe", "example.com", false, false },
    { "!#$%&'*+-/=?^_`{|}~@x", OK, "!#$%&'*+-/=?^_`{|}~", "x", false, false },
    { "User+tag@Example.COM", OK, "User+tag", "Example.COM", false, false },
    { "a@my_host.example", OK, "a", "my_host.example", false, false },
    { "a@1.2.3", OK, "a", "1.2.3", false, false },
    { "a@x--y.z", OK, "a", "x--y.z", false, false },
    { "postmaster", NO_DOMAIN, "postmaster", "", false, false },
    { "\"a b\"", NO_DOMAIN, "\"a b\"", "", false, false },
    { "", EMPTY, "", "", false, false },
    /* quoted local parts */
    { "\"\"@b", OK, "\"\"", "b", false, false },
    { "\"a b\"@c", OK, "\"a b\"", "c", false, false },
    { "\"a@b\"@c", OK, "\"a@b\"", "c", false, false },
    { "\"a>b\"@c", OK, "\"a>b\"", "c", false, false },
    { "\"a..b\"@c", OK, "\"a..b\"", "c", false, false },
    { "\"a\\\"b\"@c", OK, "\"a\\\"b\"", "c", false, false },
    { "\"a\\\\\"@c", OK, "\"a\\\\\"", "c", false, false },
    { "\"a\"b@c", LOCAL, NULL, NULL, false, false },
    { "\"a\".b@c", LOCAL, NULL, NULL, false, false },
    { "a\"b\"@c", LOCAL, NULL, NULL, false, false },
    { "\"a@c", LOCAL, NULL, NULL, false, false },
    { "\"a\\\"@c", LOCAL, NULL, NULL, false, false },
    { "\"a\\", LOCAL, NULL, NULL, false, false },
    { "\"", LOCAL, NULL, NULL, false, false },
    { "\"a\tb\"@c", LOCAL, NULL, NULL, false, false },
    { "\"a\\\tb\"@c", LOCAL, NULL, NULL, false, false },
    { "\"a\177\"@c", LOCAL, NULL, NULL, false, false },
    /* dot-strings */
    { ".a@b", LOCAL, NULL, NULL, false, false },
    { "a.@b", LOCAL, NULL, NULL, false, false },
    { "a..b@c", LOCAL, NULL, NULL, false, false },
    { ".@b", LOCAL, NULL, NULL, false, false },
    { "a b@c", LOCAL, NULL, NULL, false, false },
    { " a@b", LOCAL, NULL, NULL, false, false },
    { "a(c)@b", LOCAL, NULL, NULL, false, false },
    { "a,b@c", LOCAL, NULL, NULL, false, false },
    { "a:b@c", LOCAL, NULL, NULL, false, false },
    { "a<b@c", LOCAL, NULL, NULL, false, false },
    { "a\\b@c", LOCAL, NULL, NULL, false, false },
    { "a\177@c", LOCAL, NULL, NULL, false, false },
    { "a\rb@c", LOCAL, NULL, NULL, false, false },
    /* domains */
    { "a@", DOMAIN, NULL, NULL, false, false },
    { "a@b.", DOMAIN, NULL, NULL, false, false },
    { "a@.b", DOMAIN, NULL, NULL, false, false },
    { "a@b..c", DOMAIN, NULL, NULL, false, false },
    { "a@-b", DOMAIN, NULL, NULL, false, false },
    { "a@b-", DOMAIN, NULL, NULL, false, false },
    { "a@b-.c", DOMAIN, NULL, NULL, false, false },
    { "a@b@c", DOMAIN, NULL, NULL, false, false },
    { "a@b c", DOMAIN, NULL, NULL, false, false },
    { "a@b ", DOMAIN, NULL, NULL, false, false },
    { "a@b/c", DOMAIN, NULL, NULL, false, false },
    { "a@b\n", DOMAIN, NULL, NULL, false, false },
    /* literals */
    { "a@[192.0.2.1]", OK, "a", "[192.0.2.1]", true, false },
    { "a@[IPv6:2001:db8::1]", OK, "a", "[IPv6:2001:db8::1]", true, false },
    { "a@[ipv6:::1]", OK, "a", "[ipv6:::1]", true, false },
    { "a@[IPv6:::ffff:192.0.2.1]", OK, "a", "[IPv6:::ffff:192.0.2.1]", true,
      false },
    { "a@[2001:db8::1]", DOMAIN, NULL, NULL, false, false },
    { "a@[IPv6:192.0.2.1]", DOMAIN, NULL, NULL, false, false },
    { "a@[192.0.2.256]", DOMAIN, NULL, NULL, false, false },
    { "a@[192.0.2]", DOMAIN, NULL, NULL, false, false },
    { "a@[]", DOMAIN, NULL, NULL, false, false },
    { "a@[", DOMAIN, NULL, NULL, false, false },
    { "a@[192.0.2.1", DOMAIN, NULL, NULL, false, false },
    { "a@[192.0.2.1]x", DOMAIN, NULL, NULL, false, false },
    { "a@[ 192.0.2.1]", DOMAIN, NULL, NULL, false, false },
    { "a@[x400:abc]", DOMAIN, NULL, NULL, false, false },
    /* source routes */
    { "@one:a@b", OK, "a", "b", false, false },
    { "@one.example,@two.example:a@b", OK, "a", "b", false, false },
    { "@one:postmaster", NO_DOMAIN, "postmaster", "", false, false },
    { "@one:\"x:y\"@b", OK, "\"x:y\"", "b", false, false },
    { "@one", ROUTE, NULL, NULL, false, false },
    { "@", ROUTE, NULL, NULL, false, false },
    { "@:a@b", ROUTE, NULL, NULL, false, false },
    { "@one:", ROUTE, NULL, NULL, false, false },
    { "@one,:a@b", ROUTE, NULL, NULL, false, false },
    { "@one,two:a@b", ROUTE, NULL, NULL, false, false },
    { "@one,", ROUTE, NULL, NULL, false, false },
    { "@o ne:a@b", ROUTE, NULL, NULL, false, false },
    { "@one:@two:a@b", LOCAL, NULL, NULL, false, false },
    /* UTF-8 */
    { "j\303\266rg@example.com", OK, "j\303\266rg", "example.com", false,
      true },
    { "a@b\303\274cher.example", OK, "a", "b\303\274cher.example", false,
      true },
    { "\"\346\227\245 \346\234\254\"@b", OK, "\"\346\227\245 \346\234\254\"",
      "b", false, true },
    { "\360\237\223\247@b", OK, "\360\237\223\247", "b", false, true },
    { "a\200@b", LOCAL, NULL, NULL, false, false },
    { "a\303@b", LOCAL, NULL, NULL, false, false },
    { "a\300\257@b", LOCAL, NULL, NULL, false, false },      /* overlong / */
    { "a\340\200\257@b", LOCAL, NULL, NULL, false, false },  /* overlong / */
    { "a\355\240\200@b", LOCAL, NULL, NULL, false, false },  /* surrogate */
    { "a\364\220\200\200@b", LOCAL, NULL, NULL, false, false },
    { "\"a\303\"@b", LOCAL, NULL, NULL, false, false },
    { "\"\\\303\266\"@b", LOCAL, NULL, NULL, false, false },
    { "a@b\303", DOMAIN, NULL, NULL, false, false },
    { "a@b\377", DOMAIN, NULL, NULL, false, false },
};
/* clang-format on */

START_TEST(parse)
{
    struct smtp_address a;
    int e = (int)smtp_address_parse(&a, span_of(cases[_i].in));

    ck_assert_msg(e == cases[_i].error, "%s: %s", cases[_i].in,
                  smtp_address_why((enum smtp_address_error)e));
    if (cases[_i].local == NULL)
        return;
    ck_assert_msg(span_is(a.local, cases[_i].local), "%s: local %.*s",
                  cases[_i].in, (int)a.local.n, a.local.p);
    ck_assert_msg(span_is(a.domain, cases[_i].domain), "%s: domain %.*s",
                  cases[_i].in, (int)a.domain.n, a.domain.p);
    ck_assert_msg(a.is_literal == cases[_i].is_literal, "%s", cases[_i].in);
    ck_assert_msg(a.is_utf8 == cases[_i].is_utf8, "%s", cases[_i].in);
    size_t at = a.domain.n > 0 ? 1 : 0;
    ck_assert_msg(a.text.n == a.local.n + at + a.domain.n, "%s", cases[_i].in);
}
END_TEST

/* Lengths: n times 'x' as local part, then a domain of m octets in labels of
 * `label`, then a dropped route in front. */
static const struct {
    const char *name;
    size_t local, domain, label;
    const char *route;
    int error;
} lengths[] = {
    { "local part of the RFC", 64, 3, 63, "", OK },
    { "longer local part", 65, 3, 63, "", OK },
    { "longest local part", 250, 3, 63, "", OK },
    { "local part too long", 251, 3, 63, "", SMTP_ADDRESS_TOO_LONG },
    { "local part far too long", 900, 3, 63, "", SMTP_ADDRESS_TOO_LONG },
    { "longest label", 1, 63, 63, "", OK },
    { "label too long", 1, 64, 64, "", DOMAIN },
    { "longest path", 1, 252, 50, "", OK },
    { "longest path, long local part", 64, 189, 50, "", OK },
    { "path too long", 1, 253, 50, "", SMTP_ADDRESS_TOO_LONG },
    { "path too long, long local part", 64, 190, 50, "",
      SMTP_ADDRESS_TOO_LONG },
    { "longest domain", 1, 255, 63, "", SMTP_ADDRESS_TOO_LONG },
    { "domain too long", 1, 256, 50, "", SMTP_ADDRESS_TOO_LONG },
    { "the route is not counted", 1, 252, 50, "@one.example:", OK },
    { "bare local part too long", 255, 0, 1, "", SMTP_ADDRESS_TOO_LONG },
    { "longest bare local part", 254, 0, 1, "", NO_DOMAIN },
};

/* 40 letters of Cyrillic are 80 octets, and 47 as an A-label. */
START_TEST(long_u_label)
{
    char letters[40 * 2 + 1], in[200];
    struct smtp_address a;

    for (size_t i = 0; i < 40; i++)
        memcpy(letters + 2 * i, "\320\260", 3);
    snprintf(in, sizeof in, "u@%s.test", letters);
    ck_assert_int_eq(smtp_address_parse(&a, span_of(in)), OK);
    ck_assert(a.is_utf8);
}
END_TEST

static size_t build(char *out, size_t local, size_t domain, size_t label)
{
    size_t n = local;

    memset(out, 'x', local);
    if (domain > 0)
        out[n++] = '@';
    for (size_t i = 0; i < domain; i++)
        out[n++] = i % (label + 1) == label ? '.' : 'd';
    return n;
}

START_TEST(length_limits)
{
    char in[1024];
    size_t n = strlen(lengths[_i].route);
    struct smtp_address a;

    memcpy(in, lengths[_i].route, n);
    n +=
        build(in + n, lengths[_i].local, lengths[_i].domain, lengths[_i].label);
    int e = (int)smtp_address_parse(&a, (struct span){ in, n });
    ck_assert_msg(e == lengths[_i].error, "%s: %d", lengths[_i].name, e);
}
END_TEST

START_TEST(octet_nul)
{
    struct smtp_address a;

    ck_assert_int_eq(smtp_address_parse(&a, (struct span){ "a\0b@c", 5 }),
                     SMTP_ADDRESS_LOCAL);
    ck_assert_int_eq(smtp_address_parse(&a, (struct span){ "\"\0\"@c", 5 }),
                     SMTP_ADDRESS_LOCAL);
    ck_assert_int_eq(smtp_address_parse(&a, (struct span){ "a@b\0c", 5 }),
                     SMTP_ADDRESS_DOMAIN);
    ck_assert_int_eq(
        smtp_address_parse(&a, (struct span){ "a@[1.2.3.4\0]", 12 }),
        SMTP_ADDRESS_DOMAIN);
}
END_TEST

static const struct {
    const char *in, *out; /* NULL: refused */
    size_t size;
} locals[] = {
    { "a.b", "a.b", 64 },
    { "\"a.b\"", "a.b", 64 },
    { "\"a\\.b\"", "a.b", 64 },
    { "\"a\\\"b\"", "a\"b", 64 },
    { "\"\\\\\"", "\\", 64 },
    { "\"\"", "", 64 },
    { "\"\"", "", 1 },
    { "\"a b\"", "a b", 4 },
    { "\"a b\"", NULL, 3 },
    { "abc", "abc", 4 },
    { "abc", NULL, 3 },
    { "", "", 1 },
    { "\"\\a\\b\\c\"", "abc", 4 },
};

START_TEST(unquote)
{
    char out[80];

    memset(out, '#', sizeof out);
    bool ok = smtp_local_unquote(out, locals[_i].size, span_of(locals[_i].in));
    ck_assert_msg(ok == (locals[_i].out != NULL), "%s", locals[_i].in);
    ck_assert_msg(strcmp(out, ok ? locals[_i].out : "") == 0, "%s: %s",
                  locals[_i].in, out);
    ck_assert_msg(out[locals[_i].size] == '#', "%s: beyond the end",
                  locals[_i].in);
}
END_TEST

START_TEST(unquote_edges)
{
    char out[4] = "###";

    ck_assert(!smtp_local_unquote(out, 0, SPAN_LIT("\"\"")));
    ck_assert_str_eq(out, "###");
    ck_assert(!smtp_local_unquote(out, sizeof out, SPAN_LIT("\"\0\"")));
    ck_assert_str_eq(out, "");
}
END_TEST

static const struct {
    const char *in;
    bool valid;
} domains[] = {
    { "a", true },    { "a.b", true },   { "A-1.b_2", true },
    { "", false },    { ".", false },    { "a.", false },
    { ".a", false },  { "a..b", false }, { "-a", false },
    { "a-", false },  { "a b", false },  { "[::1]", false },
    { "a/b", false }, { "a*", false },   { "\303\266", false },
};

START_TEST(domain_names)
{
    ck_assert_msg(smtp_domain_valid(span_of(domains[_i].in)) ==
                      domains[_i].valid,
                  "%s", domains[_i].in);
}
END_TEST

START_TEST(domain_lengths)
{
    char d[300];

    build(d, 0, 256, 63);
    ck_assert(smtp_domain_valid((struct span){ d + 1, 255 }));
    build(d, 0, 257, 50);
    ck_assert(!smtp_domain_valid((struct span){ d + 1, 256 }));
    memset(d, 'x', sizeof d);
    ck_assert(smtp_domain_valid((struct span){ d, 63 }));
    ck_assert(!smtp_domain_valid((struct span){ d, 64 }));
}
END_TEST

START_TEST(reasons_differ)
{
    for (int i = OK; i <= ROUTE; i++)
        for (int k = OK; k < i; k++)
            ck_assert_str_ne(smtp_address_why((enum smtp_address_error)i),
                             smtp_address_why((enum smtp_address_error)k));
}
END_TEST

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

Suite *smtp_address_suite(void);
Suite *smtp_address_suite(void)
{
    Suite *s = suite_create("smtp.address");
    TCase *t = tcase_create("address");

    tcase_add_loop_test(t, parse, 0, COUNT(cases));
    tcase_add_loop_test(t, length_limits, 0, COUNT(lengths));
    tcase_add_test(t, octet_nul);
    tcase_add_loop_test(t, unquote, 0, COUNT(locals));
    tcase_add_test(t, unquote_edges);
    tcase_add_loop_test(t, domain_names, 0, COUNT(domains));
    tcase_add_test(t, domain_lengths);
    tcase_add_test(t, reasons_differ);
    tcase_add_test(t, long_u_label);
    suite_add_tcase(s, t);
    return s;
}
