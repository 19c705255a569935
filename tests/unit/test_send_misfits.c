/* test_send_misfits.c - which mail a host cannot take by what it offers. */
#include "send/transaction.h"
#include "spool/format.h"

#include <check.h>

enum { BIG = 1001 };

static const struct {
    const char *name;
    unsigned ext;
    uint32_t flags;
    bool sender_utf8, rcpt_utf8;
    uint64_t size;
    bool misfit;
} cases[] = {
    { "plain", 0, 0, false, false, 1, false },
    { "declared eight-bit, and is not", 0, SPOOL_8BIT, false, false, 1, false },
    { "declared, all ASCII", 0, SPOOL_UTF8, false, false, 1, false },
    { "header", 0, SPOOL_UTF8 | SPOOL_UTF8_HEADER, false, false, 1, true },
    { "header, offered", SMTP_EXT_SMTPUTF8, SPOOL_UTF8 | SPOOL_UTF8_HEADER,
      false, false, 1, false },
    { "sender", 0, SPOOL_UTF8, true, false, 1, true },
    { "recipient", 0, SPOOL_UTF8, false, true, 1, true },
    { "both, offered", SMTP_EXT_SMTPUTF8, SPOOL_UTF8, true, true, 1, false },
    { "8BITMIME is not enough", SMTP_EXT_8BITMIME,
      SPOOL_UTF8 | SPOOL_UTF8_HEADER, false, false, 1, true },
    { "too large", SMTP_EXT_SIZE | SMTP_EXT_SMTPUTF8, 0, false, false, BIG,
      true },
    { "as large as may be", SMTP_EXT_SIZE, 0, false, false, BIG - 1, false },
    { "no SIZE offered", 0, 0, false, false, BIG, false },
};

static struct pool *blocks;
static struct chain text;

static void set_up(void)
{
    blocks = chain_pool_new(64);
    ck_assert_ptr_nonnull(blocks);
    text = (struct chain)CHAIN_INIT;
    for (int i = 0; i < BIG; i++)
        ck_assert(chain_add(&text, blocks, "x", 1));
}

static void tear_down(void)
{
    chain_clear(&text, blocks);
    pool_free(&blocks);
}

START_TEST(fits_or_not)
{
    static struct send_session s;
    struct delivery_rcpt r = { .address = "u@x.test",
                               .utf8 = cases[_i].rcpt_utf8 };
    struct delivery j = { .rcpt = &r,
                          .nrcpt = 1,
                          .flags = cases[_i].flags,
                          .body = body_of_chain(&text, 0),
                          .sender_utf8 = cases[_i].sender_utf8 };

    j.body.size = cases[_i].size;
    s.ext.bits = cases[_i].ext;
    s.ext.size = BIG - 1;
    ck_assert_msg(send_transaction_has_misfits(&s, &j) == cases[_i].misfit,
                  "%s", cases[_i].name);
}
END_TEST

/* RFC 6152: only what was declared so, and is, needs 8BITMIME. */
static const struct {
    const char *name;
    unsigned ext;
    uint32_t flags;
    size_t at; /* of the octet beyond ASCII */
    bool misfit;
} texts[] = {
    { "first octet", 0, SPOOL_8BIT, 0, true },
    { "in the middle", SMTP_EXT_SIZE, SPOOL_8BIT, 50 * 1024, true },
    { "last octet", 0, SPOOL_8BIT, 100 * 1024, true },
    { "offered", SMTP_EXT_8BITMIME, SPOOL_8BIT, 0, false },
    { "not declared", 0, 0, 0, false },
};

START_TEST(eight_bit_text)
{
    static struct send_session s;
    struct delivery_rcpt r = { .address = "u@x.test" };
    struct delivery j = { .rcpt = &r, .nrcpt = 1, .flags = texts[_i].flags };
    struct chain body = CHAIN_INIT;

    for (size_t i = 0; i < 100 * 1024 + 1; i++)
        ck_assert(
            chain_add(&body, blocks, i == texts[_i].at ? "\200" : "x", 1));
    j.body = body_of_chain(&body, 0);
    s.ext.bits = texts[_i].ext;
    s.ext.size = 0;
    for (int again = 0; again < 2; again++) /* it is kept */
        ck_assert_msg(send_transaction_has_misfits(&s, &j) == texts[_i].misfit,
                      "%s", texts[_i].name);
    chain_clear(&body, blocks);
}
END_TEST

Suite *send_misfits_suite(void);
Suite *send_misfits_suite(void)
{
    Suite *s = suite_create("send_misfits");
    TCase *t = tcase_create("misfits");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, eight_bit_text, 0, sizeof texts / sizeof texts[0]);
    tcase_add_loop_test(t, fits_or_not, 0, sizeof cases / sizeof cases[0]);
    suite_add_tcase(s, t);
    return s;
}
