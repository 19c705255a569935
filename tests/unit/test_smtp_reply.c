/* test_smtp_reply.c - replies of a server and its EHLO keywords. */
#include "base/utf8.h"
#include "smtp/ext.h"
#include "smtp/reply.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Lines are separated by "|"; the last one decides the result. */
static const struct {
    const char *lines;
    enum smtp_reply_result result;
    int code;
    const char *enhanced, *text;
} cases[] = {
    { "250 Ok", SMTP_REPLY_DONE, 250, "0.0.0", "Ok" },
    { "250", SMTP_REPLY_DONE, 250, "0.0.0", "" },
    { "250 ", SMTP_REPLY_DONE, 250, "0.0.0", "" },
    { "250 2.1.5 Ok", SMTP_REPLY_DONE, 250, "2.1.5", "Ok" },
    { "250 2.1.5", SMTP_REPLY_DONE, 250, "2.1.5", "" },
    { "550 5.7.999 x", SMTP_REPLY_DONE, 550, "5.7.999", "x" },
    { "250 Ok\r", SMTP_REPLY_DONE, 250, "0.0.0", "Ok" },
    { "250\r", SMTP_REPLY_DONE, 250, "0.0.0", "" },
    { "250-a", SMTP_REPLY_MORE, 250, "0.0.0", "a" },
    { "250-", SMTP_REPLY_MORE, 250, "0.0.0", "" },
    { "250-a|250-|250 b", SMTP_REPLY_DONE, 250, "0.0.0", "a\n\nb" },
    { "550-5.1.1 no|550 5.1.1 such user", SMTP_REPLY_DONE, 550, "5.1.1",
      "no\nsuch user" },
    { "550-5.1.1 no|550 5.7.1 such user", SMTP_REPLY_DONE, 550, "5.1.1",
      "no\nsuch user" },
    { "550-no|550 5.1.1 such user", SMTP_REPLY_DONE, 550, "5.1.1",
      "no\nsuch user" },
    { "250 one|354 two", SMTP_REPLY_DONE, 354, "0.0.0", "two" },
    /* what looks like an enhanced code and is none */
    { "450 5.1.1 x", SMTP_REPLY_DONE, 450, "0.0.0", "5.1.1 x" },
    { "250 2.1 x", SMTP_REPLY_DONE, 250, "0.0.0", "2.1 x" },
    { "250 2.1.5x", SMTP_REPLY_DONE, 250, "0.0.0", "2.1.5x" },
    { "250 2.1.5.6 x", SMTP_REPLY_DONE, 250, "0.0.0", "2.1.5.6 x" },
    { "250 2.1000.5 x", SMTP_REPLY_DONE, 250, "0.0.0", "2.1000.5 x" },
    { "250 2..5 x", SMTP_REPLY_DONE, 250, "0.0.0", "2..5 x" },
    { "354 3.0.0 x", SMTP_REPLY_DONE, 354, "3.0.0", "x" },
    /* for people */
    { "250 a\001b\177c\033[1m", SMTP_REPLY_DONE, 250, "0.0.0", "a?b?c?[1m" },
    { "250 \303\266\200\303", SMTP_REPLY_DONE, 250, "0.0.0", "\303\266??" },
    /* not replies */
    { "", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "25", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "2500", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "250x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "250\tx", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "150 x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "650 x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "2x0 x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "25: x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { " 250 x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "SSH-2.0-x", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "250-a|550 b", SMTP_REPLY_BROKEN, 0, NULL, NULL },
    { "250-a|", SMTP_REPLY_BROKEN, 0, NULL, NULL },
};

/* A line and its end, as if no more had arrived. */
static enum smtp_reply_result take(struct smtp_reply *r, struct span text)
{
    char *in = malloc(text.n + 1);
    enum smtp_reply_result got = SMTP_REPLY_MORE;
    struct span line;

    ck_assert_ptr_nonnull(in);
    memcpy(in, text.p, text.n);
    in[text.n] = '\n';
    for (size_t at = 0, used; at < text.n + 1; at += used) {
        got = smtp_reply_take(r, (struct span){ in + at, text.n + 1 - at },
                              &used, &line);
        if (got == SMTP_REPLY_BROKEN)
            break;
        ck_assert_uint_gt(used, 0);
    }
    free(in);
    return got;
}

static enum smtp_reply_result feed(struct smtp_reply *r, const char *lines)
{
    enum smtp_reply_result result;

    for (struct span s = span_of(lines);; s.p++, s.n--) {
        size_t n = span_find(s, '|');
        result = take(r, (struct span){ s.p, n });
        s.p += n;
        s.n -= n;
        if (s.n == 0)
            return result;
    }
}

START_TEST(replies)
{
    struct smtp_reply r;
    char enhanced[32];

    smtp_reply_clear(&r);
    enum smtp_reply_result got = feed(&r, cases[_i].lines);
    ck_assert_msg(got == cases[_i].result, "%s: %d", cases[_i].lines, got);
    if (got == SMTP_REPLY_BROKEN)
        return;
    ck_assert_msg(r.done == (got == SMTP_REPLY_DONE), "%s", cases[_i].lines);
    ck_assert_msg(r.status.code == cases[_i].code, "%s: %d", cases[_i].lines,
                  r.status.code);
    snprintf(enhanced, sizeof enhanced, "%u.%u.%u", r.status.class,
             r.status.subject, r.status.detail);
    ck_assert_msg(strcmp(enhanced, cases[_i].enhanced) == 0, "%s: %s",
                  cases[_i].lines, enhanced);
    ck_assert_msg(strcmp(r.text, cases[_i].text) == 0, "%s: %s",
                  cases[_i].lines, r.text);
}
END_TEST

START_TEST(octet_nul)
{
    struct smtp_reply r;

    smtp_reply_clear(&r);
    ck_assert_int_eq(take(&r, (struct span){ "250 a\0b", 7 }), SMTP_REPLY_DONE);
    ck_assert_str_eq(r.text, "a?b");
}
END_TEST

START_TEST(many_lines)
{
    struct smtp_reply r;

    smtp_reply_clear(&r);
    ck_assert_int_eq(take(&r, SPAN_LIT("550-5.1.1 first")), SMTP_REPLY_MORE);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(take(&r, SPAN_LIT("550-5.1.1 x")), SMTP_REPLY_MORE);
    ck_assert_int_eq(take(&r, SPAN_LIT("550 5.1.1 last")), SMTP_REPLY_DONE);
    ck_assert_uint_eq(r.status.code, 550);
    ck_assert_uint_eq(r.status.subject, 1);
    ck_assert_int_eq(strncmp(r.text, "first\nx\nx", 9), 0);
    ck_assert_uint_eq(r.dropped, 2979);
    const char *end = strstr(r.text, "\n... and ");
    ck_assert_str_eq(end, "\n... and 2979 more lines");
}
END_TEST

START_TEST(long_line)
{
    char line[2 * SMTP_REPLY_LINE_MAX];
    struct smtp_reply r;

    memset(line, 'x', sizeof line);
    memcpy(line, "250 ", 4);
    smtp_reply_clear(&r);
    ck_assert_int_eq(take(&r, (struct span){ line, sizeof line }),
                     SMTP_REPLY_DONE);
    ck_assert_uint_eq(r.status.code, 250);
    ck_assert_uint_eq(strlen(r.text), SMTP_REPLY_LINE_MAX - 4 + 3);
    ck_assert_str_eq(r.text + SMTP_REPLY_LINE_MAX - 6, "xx...");
}
END_TEST

/* A peer that never comes to an end. */
START_TEST(endless)
{
    char line[1004];
    enum smtp_reply_result got = SMTP_REPLY_MORE;
    struct smtp_reply r;
    unsigned n = 0;

    memset(line, 'x', sizeof line);
    memcpy(line, "250-", 4);
    smtp_reply_clear(&r);
    for (; got == SMTP_REPLY_MORE && n < 2000; n++)
        got = take(&r, (struct span){ line, sizeof line });
    ck_assert_int_eq(got, SMTP_REPLY_BROKEN);
    ck_assert_uint_eq(n, SMTP_REPLY_MAX / sizeof line + 1);
}
END_TEST

/* --- from a stream ------------------------------------------------------ */

/* x{N} stands for N times x; what arrives at once ends with "|". */
static const struct {
    const char *name, *pieces;
    const char *results; /* a letter for each line taken or dropped:
                            m more, d done, B broken */
    const char *text;    /* the first octets of it */
} streams[] = {
    { "one line", "250 Ok\r\n", "d", "Ok" },
    { "LF alone", "250 Ok\n", "d", "Ok" },
    { "in pieces", "25|0 O|k\r|\n", "d", "Ok" },
    { "two lines at once", "250-a\r\n250 b\r\n", "md", "a\nb" },
    { "not yet whole", "250-a\r\n250 b", "m", "a" },
    { "long last line", "250 x{3000}\r\n", "md", "xxx" },
    { "long last line in pieces", "250 x{3000}|y{3000}|\r\n", "mmmd", "xxx" },
    { "long first line", "250-x{3000}\r\n250 b\r\n", "mmd", "xxx" },
    { "LF apart", "250 x{2044}|x{1}|\n", "mmd", "xxx" },
    { "as long as may be", "250 x{2044}\n", "d", "xxx" },
    { "CR beyond", "250 x{2044}\r\n", "md", "xxx" },
    { "a reply behind it", "250 x{3000}\r\n550 5.1.1 no\r\n", "mdd", "no" },
    { "no reply, without an end", "x{4000}", "B", NULL },
    { "no reply in the end", "250-x{3000}\r\nx\n", "mmB", NULL },
    { "line without an end", "250 x{1048569}", "mm", "xxx" },
    { "line beyond the bound", "250 x{1048573}", "mB", NULL },
};

/* Returns the octets it took from the table. */
static size_t add_piece(char *to, size_t *n, const char *p)
{
    unsigned times;
    int used = 0;

    if (p[0] != '\0' && sscanf(p + 1, "{%u}%n", &times, &used) == 1 &&
        used > 0) {
        memset(to + *n, p[0], times);
        *n += times;
        return 1 + (size_t)used;
    }
    if (p[0] != '|')
        to[(*n)++] = p[0];
    return 1;
}

static char letter_of(enum smtp_reply_result r)
{
    return r == SMTP_REPLY_DONE ? 'd' : r == SMTP_REPLY_MORE ? 'm' : 'B';
}

START_TEST(stream)
{
    enum { ROOM = SMTP_REPLY_MAX + 8192 };
    char *in = malloc(ROOM), results[16];
    const char *p = streams[_i].pieces;
    size_t n = 0, from = 0, used, got = 0;
    struct smtp_reply r;
    struct span line;

    ck_assert_ptr_nonnull(in);
    smtp_reply_clear(&r);
    while (*p != '\0') {
        bool flows = *p != '|';
        p += add_piece(in, &n, p);
        bool more = flows && *p != '\0';
        for (used = more ? 0 : 1; used > 0; from += used) {
            char result = letter_of(smtp_reply_take(
                &r, (struct span){ in + from, n - from }, &used, &line));
            ck_assert_uint_le(line.n, SMTP_REPLY_LINE_MAX);
            ck_assert_uint_lt(got, sizeof results - 1);
            if (used > 0)
                results[got++] = result;
            if (result == 'B')
                break;
        }
    }
    results[got] = '\0';
    ck_assert_msg(strcmp(results, streams[_i].results) == 0, "%s: %s",
                  streams[_i].name, results);
    if (streams[_i].text != NULL)
        ck_assert_msg(
            strncmp(r.text, streams[_i].text, strlen(streams[_i].text)) == 0,
            "%s: %s", streams[_i].name, r.text);
    free(in);
}
END_TEST

/* Characters of 2 octets, begun at an even and at an odd place: the text
 * ends between two of them. */
START_TEST(cut_between_characters)
{
    char line[SMTP_REPLY_LINE_MAX];
    struct smtp_reply r;
    size_t n = (size_t)(4 + _i);

    memcpy(line, "250-x", 5);
    while (n + 2 <= sizeof line) {
        memcpy(line + n, "\303\266", 2);
        n += 2;
    }
    smtp_reply_clear(&r);
    for (int i = 0; i < 3; i++)
        take(&r, (struct span){ line, n });
    ck_assert(r.full);
    take(&r, SPAN_LIT("250-what is not there"));
    take(&r, SPAN_LIT("250 nor is this"));
    size_t len = strlen(r.text);
    ck_assert_uint_lt(len, sizeof r.text);
    ck_assert_ptr_nonnull(strstr(r.text, "\303\266...\n... and 3 more lines"));
    for (size_t at = 0; at < len;) {
        size_t one = utf8_length(r.text + at, len - at);
        ck_assert_uint_gt(one, 0);
        at += one;
    }
}
END_TEST

/* --- EHLO keywords ------------------------------------------------------ */

static const struct {
    const char *lines;
    unsigned bits;
    unsigned long long size;
    unsigned mail, rcpt;
    const char *auth;
} exts[] = {
    { "PIPELINING", SMTP_EXT_PIPELINING, 0, 0, 0, "" },
    { "pipelining ", SMTP_EXT_PIPELINING, 0, 0, 0, "" },
    { "8BITMIME|SMTPUTF8|DSN|CHUNKING|STARTTLS|ENHANCEDSTATUSCODES",
      SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN | SMTP_EXT_CHUNKING |
          SMTP_EXT_STARTTLS | SMTP_EXT_ENHANCED,
      0, 0, 0, "" },
    { "SIZE", SMTP_EXT_SIZE, 0, 0, 0, "" },
    { "SIZE 10240000", SMTP_EXT_SIZE, 10240000, 0, 0, "" },
    { "SIZE 0", SMTP_EXT_SIZE, 0, 0, 0, "" },
    { "SIZE -1", SMTP_EXT_SIZE, 0, 0, 0, "" },
    { "SIZE 18446744073709551615", SMTP_EXT_SIZE, ~0ull, 0, 0, "" },
    { "SIZE 18446744073709551616", SMTP_EXT_SIZE, 0, 0, 0, "" },
    { "AUTH PLAIN  LOGIN", SMTP_EXT_AUTH, 0, 0, 0, "PLAIN LOGIN" },
    { "AUTH=PLAIN LOGIN", SMTP_EXT_AUTH, 0, 0, 0, "PLAIN LOGIN" },
    { "AUTH PLAIN|AUTH=PLAIN LOGIN", SMTP_EXT_AUTH, 0, 0, 0, "PLAIN" },
    { "AUTH|AUTH=LOGIN", SMTP_EXT_AUTH, 0, 0, 0, "LOGIN" },
    { "LIMITS MAILMAX=10 RCPTMAX=20", 0, 0, 10, 20, "" },
    { "limits rcptmax=5 RCPTDOMAINMAX=1 x", 0, 0, 0, 5, "" },
    { "LIMITS MAILMAX= RCPTMAX=-3", 0, 0, 0, 0, "" },
    { "LIMITS RCPTMAX", 0, 0, 0, 0, "" },
    { "PIPELININGX|XSIZE 5|SIZE=5|", 0, 0, 0, 0, "" },
    { "XCLIENT NAME ADDR|VRFY|HELP", 0, 0, 0, 0, "" },
};

START_TEST(keywords)
{
    struct smtp_ext x = { 0 };

    for (struct span s = span_of(exts[_i].lines);; s.p++, s.n--) {
        size_t n = span_find(s, '|');
        smtp_ext_line(&x, (struct span){ s.p, n });
        s.p += n;
        s.n -= n;
        if (s.n == 0)
            break;
    }
    ck_assert_msg(x.bits == exts[_i].bits, "%s: %x", exts[_i].lines, x.bits);
    ck_assert_msg(x.size == exts[_i].size, "%s: %llu", exts[_i].lines, x.size);
    ck_assert_msg(x.limit_mail == exts[_i].mail &&
                      x.limit_rcpt == exts[_i].rcpt,
                  "%s: %u %u", exts[_i].lines, x.limit_mail, x.limit_rcpt);
    ck_assert_msg(strcmp(x.auth, exts[_i].auth) == 0, "%s: %s", exts[_i].lines,
                  x.auth);
}
END_TEST

START_TEST(long_auth)
{
    struct smtp_ext x = { 0 };
    char line[400] = "AUTH ";

    memset(line + 5, 'x', 200); /* does not fit; the words around it do */
    memcpy(line + 205, " PLAIN ", 8);
    smtp_ext_line(&x, span_of(line));
    ck_assert_str_eq(x.auth, "PLAIN");
    x.auth[0] = '\0';
    memcpy(line + 5 + 127, " B", 3);
    smtp_ext_line(&x, span_of(line));
    ck_assert_uint_eq(strlen(x.auth), 127);
}
END_TEST

static const struct {
    const char *text, *status, *rest;
} statuses[] = {
    { "5.1.1 no such user", "5.1.1", "no such user" },
    { "2.0.0", "2.0.0", "" },
    { "4.999.999  x", "4.999.999", "x" },
    { "5.1.1no", "", "5.1.1no" },
    { "5.1", "", "5.1" },
    { "5.1000.1 x", "", "5.1000.1 x" },
    { "1.0.0 x", "", "1.0.0 x" },
    { "6.0.0 x", "", "6.0.0 x" },
};

START_TEST(status_is_taken)
{
    struct smtp_status s = { 0 };
    struct span rest = span_of(statuses[_i].text);
    char text[SMTP_STATUS_TEXT];

    bool taken = smtp_status_take(&s, &rest);
    smtp_status_text(text, &s);
    ck_assert(taken == (statuses[_i].status[0] != '\0'));
    ck_assert_str_eq(text, statuses[_i].status);
    ck_assert_msg(span_is(rest, statuses[_i].rest), "%s: \"%.*s\"",
                  statuses[_i].text, (int)rest.n, rest.p);
}
END_TEST

Suite *smtp_reply_suite(void);
Suite *smtp_reply_suite(void)
{
    Suite *s = suite_create("smtp.reply");
    TCase *t = tcase_create("reply");

    tcase_add_loop_test(t, replies, 0, COUNT(cases));
    tcase_add_test(t, octet_nul);
    tcase_add_test(t, many_lines);
    tcase_add_test(t, long_line);
    tcase_add_test(t, endless);
    tcase_add_loop_test(t, stream, 0, COUNT(streams));
    tcase_add_loop_test(t, cut_between_characters, 0, 2);
    tcase_add_loop_test(t, keywords, 0, COUNT(exts));
    tcase_add_test(t, long_auth);
    tcase_add_loop_test(t, status_is_taken, 0, COUNT(statuses));
    suite_add_tcase(s, t);
    return s;
}
