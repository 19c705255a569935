/* test_serve_transaction.c - what a transaction notes while its text arrives.
 */
#include "base/chain.h"
#include "serve/transaction.h"
#include "smtp/address.h"

#include <check.h>
#include <string.h>

static const char plain[] = "Received: from c.test\r\n",
                  named[] = "Received: for <j\xc3\xb6@x.test>\r\n";

static const struct {
    const char *name;
    unsigned declared;
    const char *trace, *text;
    bool utf8_header;
} cases[] = {
    { "ASCII", SPOOL_UTF8, plain, "Subject: x\r\n\r\nhi\r\n", false },
    { "a field", SPOOL_UTF8, plain, "Subject: \xc3\xbc\r\n\r\nhi\r\n", true },
    { "the last field", SPOOL_UTF8, plain, "A: b\r\nSubject: \xc3\xbc\r\n",
      true },
    { "text only", SPOOL_UTF8, plain, "Subject: x\r\n\r\n\xc3\xbc\r\n", false },
    { "not declared", SPOOL_8BIT, plain, "Subject: \xc3\xbc\r\n\r\n", false },
    { "our field", SPOOL_UTF8, named, "Subject: x\r\n\r\nhi\r\n", true },
    { "no header", SPOOL_UTF8, plain, "\xc3\xbc\r\n", false },
};

/* In pieces of any length the same is noted. */
START_TEST(header_is_looked_at)
{
    const char *text = cases[_i].text;
    size_t n = strlen(text);

    for (size_t step = 1; step <= n; step++) {
        struct pool *blocks = pool_new(CHAIN_BLOCK, 64);
        unsigned open = 0;
        struct serve_transaction *t =
            serve_transaction_new(blocks, span_of("a@b.test"), &open);
        ck_assert_ptr_nonnull(t);
        t->bodies = blocks;
        t->flags = cases[_i].declared;
        serve_transaction_begin(t, span_of(cases[_i].trace));
        for (size_t at = 0; at < n; at += step)
            serve_transaction_take(t, text + at, at + step < n ? step : n - at);
        ck_assert_int_eq(t->fault, BODY_FINE);
        ck_assert_msg(((t->flags & SPOOL_UTF8_HEADER) != 0) ==
                          cases[_i].utf8_header,
                      "%s in pieces of %zu", cases[_i].name, step);
        serve_transaction_free(&t);
        pool_free(&blocks);
    }
}
END_TEST

Suite *serve_transaction_suite(void);
Suite *serve_transaction_suite(void)
{
    Suite *s = suite_create("serve_transaction");
    TCase *t = tcase_create("header");

    tcase_add_loop_test(t, header_is_looked_at, 0,
                        sizeof cases / sizeof cases[0]);
    suite_add_tcase(s, t);
    return s;
}
