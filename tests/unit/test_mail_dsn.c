/* test_mail_dsn.c - notices: what fails, and what must never be in them.
 * tests/system/test_dsn.py reads them back with a MIME parser. */
#include "mail/dsn.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char p[64 * 1024];
    size_t n, room;
};

static bool take(void *ctx, const char *p, size_t n)
{
    struct text *t = ctx;

    if (n > t->room - t->n)
        return false;
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = '\0';
    return true;
}

static struct text text;
static struct pool *blocks;
static struct chain chain;

static void set_up(void)
{
    text.n = 0;
    text.room = sizeof text.p - 1;
    blocks = chain_pool_new(64);
    chain = (struct chain)CHAIN_INIT;
    ck_assert(chain_add(&chain, blocks, "Subject: a\r\n\r\nbody\r\n",
                        strlen("Subject: a\r\n\r\nbody\r\n")));
}

static void tear_down(void)
{
    pool_free(&blocks);
}

static int write_notice(const struct dsn_rcpt *r, enum dsn_action action,
                        const struct body *original, struct err *e)
{
    struct dsn d = { .hostname = "mx.example",
                     .to = "s@x",
                     .action = action,
                     .lifetime = 5 * 86400,
                     .rcpt = r,
                     .nrcpt = 1,
                     .original = original };

    return dsn_write(&d, take, &text, e);
}

static const struct {
    const char *name;
    enum dsn_action action;
    struct dsn_rcpt r;
    const char *has[4];
} cases[] = {
    { "failed with 4xx",
      DSN_FAILED,
      { .address = "a@b", .status = { 0, 4, 2, 2 } },
      { "\r\nStatus: 5.2.2\r\n", "\r\nAction: failed\r\n" } },
    { "no status",
      DSN_DELAYED,
      { .address = "a@b", .status = { 0, 0, 3, 3 } },
      { "\r\nStatus: 4.0.0\r\n", "\r\nAction: delayed\r\n" } },
    { "delivered",
      DSN_DELIVERED,
      { .address = "a@b", .status = { 0, 2, 1, 5 } },
      { "\r\nStatus: 2.1.5\r\n", "\r\nAction: delivered\r\n" } },
    { "reply without its code",
      DSN_FAILED,
      { .address = "a@b",
        .host = "h",
        .reply = "go away",
        .status = { .code = 550 } },
      { "\r\nDiagnostic-Code: smtp; 550 go away\r\n",
        "\r\nRemote-MTA: dns; h\r\n" } },
    { "reply with its code",
      DSN_FAILED,
      { .address = "a@b",
        .host = "h",
        .reply = "550 no",
        .status = { .code = 550 } },
      { "\r\nDiagnostic-Code: smtp; 550 no\r\n" } },
    { "its enhanced code is part of the reply",
      DSN_FAILED,
      { .address = "a@b",
        .host = "127.0.0.1",
        .reply = "no such user",
        .status = { 550, 5, 1, 1 } },
      { "\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "\r\nRemote-MTA: dns; [127.0.0.1]\r\n", "There is no such mailbox" } },
    { "a reply is given once, whatever it repeats",
      DSN_FAILED,
      { .address = "a@b", .reply = "550 5.1.1 x", .status = { 550, 5, 1, 1 } },
      { "\r\nDiagnostic-Code: smtp; 550 5.1.1 x\r\n" } },
    { "an IPv6 host",
      DSN_FAILED,
      { .address = "a@b", .host = "2001:db8::1" },
      { "\r\nRemote-MTA: dns; [IPv6:2001:db8::1]\r\n" } },
    { "expired",
      DSN_FAILED,
      { .address = "a@b",
        .host = "h",
        .reply = "later",
        .status = { 451, 4, 2, 1 },
        .expired = true,
        .attempts = 3,
        .rounds = 20,
        .first_attempt = 1700000000000000u,
        .last_attempt = 1700430000000000u },
      { "\r\nStatus: 5.4.7\r\n",
        "\r\nDiagnostic-Code: smtp; 451 4.2.1 later\r\n",
        "b> could not be delivered within 5 days, and will",
        "    Not delivered within 5 days, and given up. Offered to a mail host "
        "3\r\n"
        "    times, waited without one 20 times, from " } },
    { "expired without an offer",
      DSN_FAILED,
      { .address = "a@b",
        .status = { 0, 4, 4, 1 },
        .expired = true,
        .rounds = 20,
        .first_attempt = 1700000000000000u,
        .last_attempt = 1700430000000000u },
      { "and given up. Never offered to a mail host,\r\n"
        "    waited without one 20 times, from ",
        "The mail host of the recipient could not be reached. Please" } },
    { "it failed at the first look",
      DSN_FAILED,
      { .address = "a@b",
        .reply = "no such name",
        .status = { 0, 5, 1, 2 },
        .rounds = 1,
        .first_attempt = 1700000000000000u,
        .last_attempt = 1700000000000000u },
      { "      no such name\r\n    Never offered to a mail host.\r\n",
        "the @) does not exist.",
        "\r\nDiagnostic-Code: x-mta; no such name\r\n" } },
    { "rules of a host that may change",
      DSN_DELAYED,
      { .address = "a@b", .status = { 451, 4, 7, 1 } },
      { "<a@b> has not been delivered yet. The mail host of the",
        "does not take the message for now. You" } },
    { "no reply is quoted where none came",
      DSN_FAILED,
      { .address = "a@b",
        .host = "h",
        .reply = "connection refused",
        .status = { 0, 5, 4, 1 } },
      { "    Reason, at h:\r\n      connection refused\r\n",
        "\r\nDiagnostic-Code: x-mta; connection refused\r\n" } },
    { "a layman's paragraph comes first",
      DSN_FAILED,
      { .address = "a@b" },
      { "\r\n\r\nYour message to <a@b> could not be delivered, and will" } },
    { "every line of a reply",
      DSN_FAILED,
      { .address = "a@b",
        .host = "h",
        .reply = "blocked.\n\n550-5.7.26  read\nor else",
        .status = { 550, 5, 7, 26 } },
      { "    h replied:\r\n      550-5.7.26 blocked.\r\n      550-5.7.26\r\n"
        "      550-5.7.26 550-5.7.26 read\r\n      550 5.7.26 or else\r\n",
        "; 550 5.7.26 blocked. 550-5.7.26 read or else\r\n" } },
    { "lines that were not kept",
      DSN_FAILED,
      { .address = "a@b",
        .reply = "one\ntwo...\n... and 3 more lines",
        .status = { .code = 554 } },
      { "      554-one\r\n      554-two...\r\n      ... and 3 more "
        "lines\r\n" } },
    { "line ends in a reply",
      DSN_FAILED,
      { .address = "a@b",
        .reply = "550 a\r\nTo: x\n.\r\n",
        .status = { .code = 550 } },
      { "; 550 a To: x .\r\n" } },
};

START_TEST(values)
{
    struct body original = body_of_chain(&chain, 0);
    struct err e = { ERR_NONE, 0, "" };

    ck_assert(write_notice(&cases[_i].r, cases[_i].action, &original, &e) == 0);
    for (int i = 0; i < 4 && cases[_i].has[i] != NULL; i++)
        ck_assert_msg(strstr(text.p, cases[_i].has[i]) != NULL,
                      "%s: no \"%s\" in\n%s", cases[_i].name, cases[_i].has[i],
                      text.p);
    ck_assert(strstr(text.p, "\r\n.\r\n") == NULL);
    ck_assert_int_eq(strstr(text.p, "replied:") != NULL,
                     cases[_i].r.status.code != 0);
}
END_TEST

START_TEST(long_values)
{
    static char word[5000];
    struct body original = body_of_chain(&chain, 0);
    struct err e = { ERR_NONE, 0, "" };
    struct dsn_rcpt r = { .address = word,
                          .host = word,
                          .reply = word,
                          .orcpt = word,
                          .status = { .code = 550 } };

    memset(word, 'w', sizeof word - 1);
    ck_assert(write_notice(&r, DSN_FAILED, &original, &e) == 0);
    for (const char *p = text.p, *end; *p != '\0'; p = end + 2) {
        end = strstr(p, "\r\n");
        ck_assert(end != NULL);
        ck_assert_msg(end - p < 998, "%ld columns", (long)(end - p));
    }
    ck_assert_msg(strstr(text.p, "www...\r\n") != NULL, "cut without a mark");
}
END_TEST

START_TEST(full_sink)
{
    struct body original = body_of_chain(&chain, 0);
    struct dsn_rcpt r = { .address = "a@b" };
    struct err e = { ERR_NONE, 0, "" };

    ck_assert(write_notice(&r, DSN_FAILED, &original, &e) == 0);
    for (size_t room = 0; room < text.n; room += 7) {
        struct text small = { .room = room };
        struct dsn d = { .hostname = "mx.example",
                         .to = "s@x",
                         .rcpt = &r,
                         .nrcpt = 1,
                         .original = &original };
        ck_assert(dsn_write(&d, take, &small, &e) != 0);
        ck_assert_int_eq(e.kind, ERR_TEMP);
    }
}
END_TEST

START_TEST(unreadable_original)
{
    int fd = open("/dev/null", O_RDONLY);
    struct body original = body_of_file(fd, 0, 100, 0);
    struct dsn_rcpt r = { .address = "a@b" };
    struct err e = { ERR_NONE, 0, "" };

    ck_assert(write_notice(&r, DSN_FAILED, &original, &e) != 0);
    ck_assert_int_eq(e.kind, ERR_TEMP);
    close(fd);
}
END_TEST

START_TEST(null_sender)
{
    struct body original = body_of_chain(&chain, 0);
    struct dsn_rcpt r = { .address = "a@b" };
    struct dsn d = {
        .hostname = "h", .to = "", .rcpt = &r, .nrcpt = 1, .original = &original
    };
    struct err e = { ERR_NONE, 0, "" };

    ck_assert(dsn_write(&d, take, &text, &e) != 0);
    ck_assert_int_eq(e.kind, ERR_BUG);
    ck_assert_uint_eq(text.n, 0);
}
END_TEST

Suite *mail_dsn_suite(void);
Suite *mail_dsn_suite(void)
{
    Suite *s = suite_create("mail.dsn");
    TCase *t = tcase_create("dsn");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, values, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, long_values);
    tcase_add_test(t, full_sink);
    tcase_add_test(t, unreadable_original);
    tcase_add_test(t, null_sender);
    suite_add_tcase(s, t);
    return s;
}
