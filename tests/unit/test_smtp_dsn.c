/* test_smtp_dsn.c - the parameters of RFC 3461 and RFC 6533. */
#include "smtp/dsn.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

enum which { RET, ENVID, NOTIFY, ORCPT, ORCPT_UTF8 };

/* why: a part of the reason; NULL: valid. */
static const struct {
    enum which which;
    const char *value, *why;
} values[] = {
    { RET, "FULL", NULL },
    { RET, "hdrs", NULL },
    { RET, "FULLER", "FULL or HDRS" },
    { RET, "", "FULL or HDRS" },

    { ENVID, "QQ314159", NULL },
    { ENVID, "a+2Bb+3D+20c", NULL },
    { ENVID, X100, NULL },
    { ENVID, X100 "x", "100" },
    { ENVID, "", "no value" },
    { ENVID, "a=b", "xtext" },
    { ENVID, "a b", "xtext" },
    { ENVID, "a+", "xtext" },
    { ENVID, "a+2", "xtext" },
    { ENVID, "a+2b", "xtext" }, /* upper case only */
    { ENVID, "a+0A", "unprintable" },
    { ENVID, "a+C3+A4", "unprintable" },
    { ENVID, "\303\244", "xtext" },

    { NOTIFY, "NEVER", NULL },
    { NOTIFY, "success", NULL },
    { NOTIFY, "FAILURE,DELAY,SUCCESS", NULL },
    { NOTIFY, "", "not NEVER" },
    { NOTIFY, "ALWAYS", "not NEVER" },
    { NOTIFY, "SUCCESS,", "not NEVER" },
    { NOTIFY, ",SUCCESS", "not NEVER" },
    { NOTIFY, "SUCCESS,,DELAY", "not NEVER" },
    { NOTIFY, "SUCCESS;DELAY", "not NEVER" },
    { NOTIFY, "SUCCESS,success", "twice" },
    { NOTIFY, "NEVER,NEVER", "twice" },
    { NOTIFY, "NEVER,SUCCESS", "alone" },
    { NOTIFY, "DELAY,NEVER", "alone" },

    { ORCPT, "rfc822;joe@example.com", NULL },
    { ORCPT, "RFC822;joe+2Btag@example.com", NULL },
    { ORCPT, "x400;/C=de/", "xtext" },
    { ORCPT, "x400;/C+3Dde/", NULL },
    { ORCPT, "rfc822;", "no address" },
    { ORCPT, ";joe@example.com", "type" },
    { ORCPT, "rfc 822;joe@example.com", "type" },
    { ORCPT, "joe@example.com", "no address type" },
    { ORCPT, "", "no address type" },
    { ORCPT, "rfc822;a+0D+0AQUIT", "unprintable" },
    { ORCPT, "rfc822;a+zz", "xtext" },
    { ORCPT, "rfc822;j\303\266@example.com", "xtext" },
    { ORCPT,
      "rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "123",
      NULL },
    { ORCPT,
      "rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "1234",
      "500" },
    { ORCPT, "utf-8;j\\x{F6}@example.com", NULL },
    { ORCPT, "utf-8;j\\x{2B}\\x{20AC}\\x{1F600}\\x{10FFFF}@a", NULL },
    { ORCPT, "utf-8;j\\x{f6}@a", "utf-8" },
    { ORCPT, "utf-8;j\\x{F6@a", "utf-8" },
    { ORCPT, "utf-8;j\\xF6@a", "utf-8" },
    { ORCPT, "utf-8;j\\x{}@a", "utf-8" },
    { ORCPT, "utf-8;j\\x{41}@a", "utf-8" }, /* "A" needs none */
    { ORCPT, "utf-8;j\\x{00F6}@a", "utf-8" },
    { ORCPT, "utf-8;j\\x{D800}@a", "utf-8" },
    { ORCPT, "utf-8;j\\x{110000}@a", "utf-8" },
    { ORCPT, "utf-8;j\\x{00}@a", "utf-8" },
    { ORCPT, "utf-8;j+2Bx@a", "utf-8" },
    { ORCPT, "utf-8;j\303\266@a", "without SMTPUTF8" },
    { ORCPT_UTF8, "utf-8;j\303\266@a", NULL },
    { ORCPT_UTF8, "utf-8;j\\x{F6}@a", NULL },
    { ORCPT_UTF8, "utf-8;j\303@a", "utf-8" },
    { ORCPT_UTF8, "rfc822;j\303\266@a", "xtext" },
};

START_TEST(check)
{
    struct span v = span_of(values[_i].value);
    const char *why = NULL;
    unsigned bits;

    switch (values[_i].which) {
    case RET: why = smtp_dsn_check_ret(v); break;
    case ENVID: why = smtp_dsn_check_envid(v); break;
    case NOTIFY: why = smtp_dsn_check_notify(v, &bits); break;
    case ORCPT: why = smtp_dsn_check_orcpt(v, false); break;
    case ORCPT_UTF8: why = smtp_dsn_check_orcpt(v, true); break;
    }
    if (values[_i].why == NULL)
        ck_assert_msg(why == NULL, "%s: %s", values[_i].value, why);
    else
        ck_assert_msg(why != NULL && strstr(why, values[_i].why) != NULL,
                      "%s: %s", values[_i].value, why != NULL ? why : "valid");
}
END_TEST

/* "KEY" without "=". */
START_TEST(no_value)
{
    const struct span none = { NULL, 0 };
    unsigned bits;

    ck_assert_ptr_nonnull(smtp_dsn_check_ret(none));
    ck_assert_ptr_nonnull(smtp_dsn_check_envid(none));
    ck_assert_ptr_nonnull(smtp_dsn_check_notify(none, &bits));
    ck_assert_ptr_nonnull(smtp_dsn_check_orcpt(none, true));
}
END_TEST

START_TEST(notify_bits)
{
    static const char *const texts[] = {
        "NEVER",         "SUCCESS",       "FAILURE",
        "SUCCESS,DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_str_eq(smtp_dsn_notify_text(smtp_dsn_notify_bits(texts[i])),
                         texts[i]);
    ck_assert_uint_eq(smtp_dsn_notify_bits(NULL), 0);
    ck_assert_str_eq(smtp_dsn_notify_text(0), "");
    ck_assert_str_eq(
        smtp_dsn_notify_text(smtp_dsn_notify_bits("delay,SUCCESS")),
        "SUCCESS,DELAY");
}
END_TEST

static const struct {
    const char *text, *xtext;
} pairs[] = {
    { "joe@example.com", "joe@example.com" },
    { "a+b=c d", "a+2Bb+3Dc+20d" },
    { "A", "+41" },
};

START_TEST(xtext)
{
    char out[100];
    struct buf b = BUF_ON(out);

    smtp_xtext_decode(&b, span_of(pairs[_i].xtext));
    ck_assert_str_eq(out, pairs[_i].text);
}
END_TEST

START_TEST(decode_is_harmless)
{
    char out[100];
    struct buf b = BUF_ON(out);

    smtp_xtext_decode(&b, span_of("a+0D+0Ab+C3+2\303+"));
    ck_assert_str_eq(out, "a??b?+2?+");
}
END_TEST

/* Each is what this program would pass on, so it has to be valid. */
static const struct {
    const char *address, *orcpt;
} defaults[] = {
    { "joe+tag@example.com", "rfc822;joe+2Btag@example.com" },
    { "\"a b=c\"@x", "rfc822;\"a+20b+3Dc\"@x" },
    { "j\303\266+e@x", "utf-8;j\\x{F6}\\x{2B}e@x" },
    { "\360\237\230\200@x", "utf-8;\\x{1F600}@x" },
};

START_TEST(put_orcpt)
{
    char out[SMTP_ORCPT_MAX + 1];
    struct buf b = BUF_ON(out);

    smtp_dsn_put_orcpt(&b, span_of(defaults[_i].address));
    ck_assert_str_eq(out, defaults[_i].orcpt);
    ck_assert_ptr_null(smtp_dsn_check_orcpt(buf_span(&b), false));
}
END_TEST

START_TEST(put_ascii)
{
    char out[SMTP_ORCPT_MAX + 1];
    struct buf b = BUF_ON(out);

    smtp_dsn_put_ascii(&b, span_of("utf-8;j\303\266\\x{2B}\342\202\254@x"));
    ck_assert_str_eq(out, "utf-8;j\\x{F6}\\x{2B}\\x{20AC}@x");
    ck_assert_ptr_null(smtp_dsn_check_orcpt(buf_span(&b), false));
}
END_TEST

Suite *smtp_dsn_suite(void);
Suite *smtp_dsn_suite(void)
{
    Suite *s = suite_create("smtp_dsn");
    TCase *t = tcase_create("parameters");

    tcase_add_loop_test(t, check, 0, sizeof values / sizeof values[0]);
    tcase_add_test(t, no_value);
    tcase_add_test(t, notify_bits);
    tcase_add_loop_test(t, xtext, 0, sizeof pairs / sizeof pairs[0]);
    tcase_add_test(t, decode_is_harmless);
    tcase_add_loop_test(t, put_orcpt, 0, sizeof defaults / sizeof defaults[0]);
    tcase_add_test(t, put_ascii);
    suite_add_tcase(s, t);
    return s;
}
