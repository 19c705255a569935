/* test_mail_header_scan.c - counting trace fields while the header streams by. */
#include "mail/header_scan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *text;
    unsigned received;
    bool ended, eight_bit;
} cases[] = {
    { "nothing", "", 0, false, false },
    { "two", "Received: a\r\nReceived: b\r\nSubject: x\r\n\r\n", 2, true,
      false },
    { "any case, blank before colon", "rEcEiVeD \t: a\r\n\r\n", 1, true,
      false },
    { "body does not count", "A: b\r\n\r\nReceived: a\r\n", 0, true, false },
    { "continuation does not count",
      "Received: a\r\n\tReceived: b\r\n Received: c\r\n\r\n", 1, true, false },
    { "in the middle of a line", "X: Received: a\r\n\r\n", 0, true, false },
    { "other names", "X-Received: a\r\nReceivedX: b\r\nReceive: c\r\n\r\n", 0,
      true, false },
    { "very long name", "Receivedreceivedreceivedreceived: a\r\n\r\n", 0, true,
      false },
    { "not ended", "Received: a\r\nSubject", 1, false, false },
    { "body without a header", "Hello there\r\nReceived: a\r\n", 0, true,
      false },
    { "empty line first", "\r\nReceived: a\r\n", 0, true, false },
    { "blank first", " Received: a\r\nReceived: b\r\n", 0, true, false },
    { "line without colon ends it", "Received: a\r\nnonsense\r\nReceived: b", 1,
      true, false },
    { "colon first", ": a\r\nReceived: b\r\n", 0, true, false },
    { "CR and more", "Received: a\r\n\rReceived: b\r\n", 1, true, false },
    { "eight bit in a value", "Subject: \xc3\xa4\r\n\r\n", 0, true, true },
    { "eight bit in the body", "A: b\r\n\r\n\xc3\xa4", 0, true, false },
    { "eight bit in a name is a body", "S\xc3: a\r\nReceived: b", 0, true,
      false },
};

static void compare(size_t i, const struct header_scan *h, size_t piece)
{
    ck_assert_msg(h->received == cases[i].received &&
                      h->ended == cases[i].ended &&
                      h->eight_bit == cases[i].eight_bit,
                  "%s in pieces of %zu: %u %d %d", cases[i].name, piece,
                  h->received, h->ended, h->eight_bit);
}

START_TEST(scan)
{
    const char *text = cases[_i].text;
    size_t n = strlen(text);

    for (size_t piece = 1; piece <= n + 1; piece++) {
        struct header_scan h = HEADER_SCAN_INIT;
        for (size_t at = 0; at < n; at += piece)
            header_scan(&h, text + at, n - at < piece ? n - at : piece);
        compare((size_t)_i, &h, piece);
    }
}
END_TEST

static const struct {
    const char *text;
    enum header_first first;
} firsts[] = {
    { "", HEADER_UNDECIDED },
    { "Subject", HEADER_UNDECIDED },
    { "Subject \t", HEADER_UNDECIDED },
    { "Subject:", HEADER_FIELD },
    { "Subject \t: x", HEADER_FIELD },
    { "\r", HEADER_UNDECIDED },
    { "\r\n", HEADER_FIELD },
    { "\r\r", HEADER_NONE },
    { " x: y", HEADER_NONE },
    { "\tx", HEADER_NONE },
    { ":", HEADER_NONE },
    { "x\r\n", HEADER_NONE },
    { "From a b: c", HEADER_NONE },
    { "\303\244: x", HEADER_NONE },
    { "A: b\r\n c", HEADER_FIELD },
    { "A: b\r\nnonsense\r\n", HEADER_FIELD },
};

START_TEST(first_line)
{
    const char *text = firsts[_i].text;

    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        struct header_scan h = HEADER_SCAN_INIT;
        for (size_t at = 0, n = strlen(text); at < n; at += piece)
            header_scan(&h, text + at, n - at < piece ? n - at : piece);
        ck_assert_msg(h.first == firsts[_i].first, "\"%s\": %d", text, h.first);
    }
}
END_TEST

/* However it is cut into pieces: a colon that comes too late is none. */
START_TEST(first_name_too_long)
{
    char text[HEADER_FIRST_MAX + 2];

    memset(text, 'x', sizeof text);
    for (size_t n = HEADER_FIRST_MAX - 1; n <= HEADER_FIRST_MAX; n++) {
        struct header_scan h = HEADER_SCAN_INIT;
        header_scan(&h, text, n);
        ck_assert_int_eq(h.first, HEADER_UNDECIDED);
        header_scan(&h, ":", 1);
        ck_assert_int_eq(h.first,
                         n < HEADER_FIRST_MAX ? HEADER_FIELD : HEADER_NONE);
    }
}
END_TEST

Suite *mail_header_scan_suite(void);
Suite *mail_header_scan_suite(void)
{
    Suite *s = suite_create("mail.header");
    TCase *t = tcase_create("scan");
    tcase_add_loop_test(t, scan, 0, sizeof cases / sizeof cases[0]);
    tcase_add_loop_test(t, first_line, 0, sizeof firsts / sizeof firsts[0]);
    tcase_add_test(t, first_name_too_long);
    suite_add_tcase(s, t);
    return s;
}
