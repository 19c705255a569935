/* test_mail_trace.c - the fields that a hop adds. */
#include "mail/trace.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ID "0000000000000000"
#define LONG60 "a123456789b123456789c123456789d123456789e123456789f123456789"

static const struct {
    const char *name;
    struct trace t;
    const char *text; /* up to the date; NULL: only the general checks */
} cases[] = {
    { "usual",
      { .helo = "client.example",
        .client = "192.0.2.1",
        .client_name = "mail.example",
        .name_confirmed = true,
        .by = "mx.example",
        .with = "ESMTP",
        .rcpt = "joe@x.example" },
      "Received: from client.example (mail.example [192.0.2.1])\r\n"
      "\tby mx.example with ESMTP id " ID "\r\n"
      "\tfor <joe@x.example>; " },
    { "TLS",
      { .helo = "client.example",
        .client = "192.0.2.1",
        .client_name = "mail.example",
        .name_confirmed = true,
        .by = "mx.example",
        .with = "ESMTPS",
        .tls_version = "TLSv1.3",
        .tls_cipher = "TLS_AES_256_GCM_SHA384",
        .tls_bits = 256,
        .tls_of_bits = 256,
        .rcpt = "joe@x.example" },
      "Received: from client.example (mail.example [192.0.2.1])\r\n"
      "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"
      " (256/256 bits))\r\n"
      "\tby mx.example with ESMTPS id " ID "\r\n"
      "\tfor <joe@x.example>; " },
    { "program of this host",
      { .helo = "h",
        .is_local = true,
        .uid = 4294967294u,
        .by = "mx.example",
        .with = "ESMTP",
        .rcpt = "joe@x.example" },
      "Received: by mx.example (mta, from userid 4294967294)\r\n"
      "\twith ESMTP id " ID "\r\n"
      "\tfor <joe@x.example>; " },
    { "no name, several recipients",
      { .helo = "[192.0.2.1]",
        .client = "192.0.2.1",
        .by = "mx",
        .with = "SMTP" },
      "Received: from [192.0.2.1] (unknown [192.0.2.1])\r\n"
      "\tby mx with SMTP id " ID "; " },
    { "name not confirmed, IPv6",
      { .helo = "h",
        .client = "IPv6:2001:db8::1",
        .client_name = "bank.test",
        .by = "mx",
        .with = "ESMTP" },
      "Received: from h (unverified [IPv6:2001:db8::1])\r\n"
      "\tby mx with ESMTP id " ID "; " },
    { "empty values",
      { .helo = "", .client = "", .client_name = "", .by = "mx", .with = "" },
      "Received: from unknown (unknown [unknown])\r\n"
      "\tby mx with unknown id " ID "; " },
    { "line ends and comments in names",
      { .helo = "a\r\nSubject: x",
        .client = "1)",
        .client_name = "b(\n\\",
        .name_confirmed = true,
        .by = "mx;",
        .with = "E\tS" },
      "Received: from a??Subject:?x (b??? [1?])\r\n"
      "\tby mx? with E?S id " ID "; " },
    { "quoted recipient",
      { .helo = "h",
        .client = "1",
        .by = "mx",
        .with = "SMTP",
        .rcpt = "\"a b>(\\\"\"@x" },
      "Received: from h (unknown [1])\r\n\tby mx with SMTP id " ID "\r\n"
      "\tfor <\"a b>(\\\"\"@x>; " },
    { "hostile recipient is left out",
      { .helo = "h",
        .client = "1",
        .by = "mx",
        .with = "SMTP",
        .rcpt = "a>\r\nX: y" },
      "Received: from h (unknown [1])\r\n\tby mx with SMTP id " ID "; " },
    { "open quote is left out",
      { .helo = "h",
        .client = "1",
        .by = "mx",
        .with = "SMTP",
        .rcpt = "\"a\\" },
      "Received: from h (unknown [1])\r\n\tby mx with SMTP id " ID "; " },
    { "long names are folded",
      { .helo = LONG60 LONG60 LONG60 LONG60 LONG60 LONG60,
        .client = "192.0.2.1",
        .client_name = LONG60 ".example",
        .name_confirmed = true,
        .by = LONG60 LONG60,
        .with = "ESMTP",
        .rcpt = LONG60 "@" LONG60 LONG60 LONG60 },
      NULL },
};

/* Every line but the last begins a field or goes on with one, none is blank
 * or too long. */
static void check_form(const char *name, const char *p)
{
    for (bool first = true; *p != '\0'; first = false) {
        const char *end = strstr(p, "\r\n");
        ck_assert_msg(end != NULL, "%s: no CRLF at the end", name);
        ck_assert_msg(first || *p == '\t', "%s: line \"%.30s\"", name, p);
        ck_assert_msg(end - p < 400, "%s: %ld columns", name, (long)(end - p));
        ck_assert_msg(end - p > 1, "%s: blank line", name);
        for (const char *q = p; q < end; q++)
            ck_assert_msg(*q == '\t' || (unsigned char)*q >= ' ',
                          "%s: control character", name);
        p = end + 2;
    }
}

START_TEST(received)
{
    char text[TRACE_MAX];
    struct buf b = BUF_ON(text);
    const char *name = cases[_i].name, *want = cases[_i].text;

    trace_received(&b, &cases[_i].t);
    ck_assert_msg(!b.full, "%s: full", name);
    check_form(name, text);
    if (want != NULL)
        ck_assert_msg(strncmp(text, want, strlen(want)) == 0, "%s: \"%s\"",
                      name, text);
    ck_assert_msg(strstr(text, " 1970 ") != NULL, "%s: date", name);
}
END_TEST

START_TEST(delivery_fields)
{
    char text[TRACE_MAX];
    struct buf b = BUF_ON(text);

    trace_return_path(&b, span_of("a@b"));
    trace_return_path(&b, span_of(""));
    trace_delivered_to(&b, span_of("joe@x\r\nEvil: 1"));
    ck_assert_str_eq(text, "Return-Path: <a@b>\r\nReturn-Path: <>\r\n"
                           "Delivered-To: joe@x??Evil: 1\r\n");
}
END_TEST

Suite *mail_trace_suite(void);
Suite *mail_trace_suite(void)
{
    Suite *s = suite_create("mail.trace");
    TCase *t = tcase_create("trace");
    tcase_add_loop_test(t, received, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, delivery_fields);
    suite_add_tcase(s, t);
    return s;
}
