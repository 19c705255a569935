/* test_smtp_command.c - command lines, paths and parameters. */
#include "smtp/command.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    const char *line;
    enum smtp_verb verb;
    const char *args;
} lines[] = {
    { "HELO a", SMTP_HELO, "a" },
    { "ehlo a.b", SMTP_EHLO, "a.b" },
    { "Mail FROM:<>", SMTP_MAIL, "FROM:<>" },
    { "rCpT TO:<a@b>", SMTP_RCPT, "TO:<a@b>" },
    { "DATA", SMTP_DATA, "" },
    { "DATA  \t ", SMTP_DATA, "" },
    { "RSET ", SMTP_RSET, "" },
    { "QUIT now", SMTP_QUIT, "now" },
    { "QUIT\t", SMTP_QUIT, "" },
    { "VRFY a", SMTP_VRFY, "a" },
    { "VERIFY a", SMTP_VRFY, "a" },
    { "verify", SMTP_VRFY, "" },
    { "NOOP", SMTP_NOOP, "" },
    { "HELP", SMTP_HELP, "" },
    { "EXPN l", SMTP_EXPN, "l" },
    { "STARTTLS", SMTP_STARTTLS, "" },
    { "AUTH PLAIN =", SMTP_AUTH, "PLAIN =" },
    { "BDAT 10 LAST", SMTP_BDAT, "10 LAST" },
    { "", SMTP_UNKNOWN, "" },
    { " DATA", SMTP_UNKNOWN, "DATA" },
    { "DAT", SMTP_UNKNOWN, "" },
    { "DATAX", SMTP_UNKNOWN, "" },
    { "unknown", SMTP_UNKNOWN, "" },
    { "MAIL:FROM <a@b>", SMTP_UNKNOWN, "<a@b>" },
    { "GET / HTTP/1.1", SMTP_UNKNOWN, "/ HTTP/1.1" },
    { "\303\266 x", SMTP_UNKNOWN, "x" },
};

START_TEST(verbs)
{
    struct smtp_command c;

    ck_assert_msg(smtp_command_parse(&c, span_of(lines[_i].line)), "%s",
                  lines[_i].line);
    ck_assert_msg(c.verb == lines[_i].verb, "%s: %s", lines[_i].line,
                  smtp_verb_name(c.verb));
    ck_assert_msg(span_is(c.args, lines[_i].args), "%s: args %.*s",
                  lines[_i].line, (int)c.args.n, c.args.p);
    ck_assert_msg(c.word.p == lines[_i].line &&
                      c.word.n == strcspn(lines[_i].line, " \t"),
                  "%s: word", lines[_i].line);
}
END_TEST

static const struct {
    const char *name, *line;
    size_t n;
} bad_lines[] = {
    { "NUL", "NOOP\0", 5 },           { "NUL in front", "\0NOOP", 5 },
    { "bare CR", "NOOP\rRSET", 9 },   { "bare LF", "NOOP\nRSET", 9 },
    { "CR at the end", "NOOP\r", 5 },
};

START_TEST(bad_octets)
{
    struct smtp_command c;

    ck_assert_msg(!smtp_command_parse(
                      &c, (struct span){ bad_lines[_i].line, bad_lines[_i].n }),
                  "%s", bad_lines[_i].name);
    ck_assert_int_eq(c.verb, SMTP_UNKNOWN);
}
END_TEST

START_TEST(names)
{
    for (int v = 0; v < SMTP_UNKNOWN; v++) {
        struct smtp_command c;
        const char *name = smtp_verb_name((enum smtp_verb)v);
        ck_assert(smtp_command_parse(&c, span_of(name)));
        ck_assert_msg((int)c.verb == v, "%s", name);
    }
    ck_assert_str_eq(smtp_verb_name(SMTP_UNKNOWN), "unknown");
    ck_assert_str_eq(smtp_verb_name((enum smtp_verb)99), "unknown");
}
END_TEST

enum {
    GOOD = SMTP_SYNTAX_OK,
    BAD = SMTP_SYNTAX_BAD,
    PAR = SMTP_SYNTAX_PARAMS,
    TWICE = SMTP_SYNTAX_TWICE,
    BARE = SMTP_SYNTAX_BARE
};

/* params: each as KEY=VALUE or KEY, behind every one a semicolon. */
static const struct {
    const char *args;
    int result;
    const char *path, *params;
} paths[] = {
    { "FROM:<a@b>", GOOD, "a@b", "" },
    { "from:<a@b>", GOOD, "a@b", "" },
    { "FROM:<>", GOOD, "", "" },
    { "FROM: <a@b>", GOOD, "a@b", "" },
    { "FROM: \t <a@b>", GOOD, "a@b", "" },
    { "FROM:<@x,@y:a@b>", GOOD, "@x,@y:a@b", "" },
    { "FROM:< a@b >", GOOD, " a@b ", "" },
    { "FROM:<a@b> SIZE=10", GOOD, "a@b", "SIZE=10;" },
    { "FROM:<a@b>\t SIZE=10  BODY=8BITMIME ", GOOD, "a@b",
      "SIZE=10;BODY=8BITMIME;" },
    { "FROM:<> SMTPUTF8 x-y=<>", GOOD, "", "SMTPUTF8;x-y=<>;" },
    { "FROM:<a@b> ENVID=\303\266", GOOD, "a@b", "ENVID=\303\266;" },
    /* ">" inside quotes does not end the path */
    { "FROM:<\"a>b\"@c>", GOOD, "\"a>b\"@c", "" },
    { "FROM:<\"a\\\">b\"@c> SIZE=1", GOOD, "\"a\\\">b\"@c", "SIZE=1;" },
    { "FROM:<\"a\\\\\">", GOOD, "\"a\\\\\"", "" },
    { "FROM:<\"a b\"@c>", GOOD, "\"a b\"@c", "" },
    { "FROM:<a\\>", GOOD, "a\\", "" },
    { "FROM:<a>b@c>", BAD, NULL, NULL },
    { "FROM:<\"a>", BAD, NULL, NULL },
    { "FROM:<\"a\\\">", BAD, NULL, NULL },
    { "FROM:<\"\\", BAD, NULL, NULL },
    { "", BAD, NULL, NULL },
    { "FROM", BAD, NULL, NULL },
    { "FROM:", BAD, NULL, NULL },
    { "FROM: ", BAD, NULL, NULL },
    { "FROM:<", BAD, NULL, NULL },
    /* without brackets */
    { "FROM:a@b", BARE, "a@b", "" },
    { "FROM: a@b ", BARE, "a@b", "" },
    { "FROM:a@b SIZE=1\tBODY=7BIT", BARE, "a@b", "SIZE=1;BODY=7BIT;" },
    { "FROM:x <a@b>", PAR, NULL, NULL },
    { "FROM:a@b SIZE=1 SIZE=2", TWICE, NULL, NULL },
    { "FROM:a@b>", BAD, NULL, NULL },
    { "FROM:a<b@c>", BAD, NULL, NULL },
    { "FROM:>", BAD, NULL, NULL },
    { "FROM :<a@b>", BAD, NULL, NULL },
    { "TO:<a@b>", BAD, NULL, NULL },
    { "FROM:<a@b", BAD, NULL, NULL },
    { "FROM:<a@b>>", BAD, NULL, NULL },
    { "FROM:<a@b>SIZE=1", BAD, NULL, NULL },
    { "FROM:<a@b> =1", PAR, NULL, NULL },
    { "FROM:<a@b> SIZE=", PAR, NULL, NULL },
    { "FROM:<a@b> SIZE=1=2", PAR, NULL, NULL },
    { "FROM:<a@b> -A=1", PAR, NULL, NULL },
    { "FROM:<a@b> A_B=1", PAR, NULL, NULL },
    { "FROM:<a@b> <c@d>", PAR, NULL, NULL },
    { "FROM:<a@b> A=\001", PAR, NULL, NULL },
    { "FROM:<a@b> A=\177", PAR, NULL, NULL },
    /* once only, whatever it is */
    { "FROM:<a@b> SIZE=1 SIZE=1", TWICE, NULL, NULL },
    { "FROM:<a@b> SIZE=1 BODY=7BIT size=2", TWICE, NULL, NULL },
    { "FROM:<a@b> BODY=7BIT BODY=8BITMIME", TWICE, NULL, NULL },
    { "FROM:<> SMTPUTF8 SMTPUTF8", TWICE, NULL, NULL },
    { "FROM:<> x-y x-y=1", TWICE, NULL, NULL },
    { "FROM:<> x-y x-", GOOD, "", "x-y;x-;" },
    /* as many as there is room for, and one more */
    { "FROM:<> a b c d e f g h i j k l m n o p", GOOD, "",
      "a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;" },
    { "FROM:<> a b c d e f g h i j k l m n o p q", PAR, NULL, NULL },
};

static void describe(char *out, size_t size, const struct smtp_param *p,
                     size_t n)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(
            out + at, size - at, "%.*s%s%.*s;", (int)p[i].key.n, p[i].key.p,
            p[i].value.p == NULL ? "" : "=", (int)p[i].value.n,
            p[i].value.p == NULL ? "" : p[i].value.p);
}

START_TEST(path_args)
{
    struct smtp_param params[SMTP_PARAMS_MAX];
    size_t n = 777; /* set in every case, whatever it was */
    struct span path;
    char text[200];

    int got = (int)smtp_path_args(span_of(paths[_i].args), "FROM:", &path,
                                  params, &n);
    ck_assert_msg(got == paths[_i].result, "%s: %d", paths[_i].args, got);
    ck_assert_uint_le(n, SMTP_PARAMS_MAX);
    if (got != GOOD && got != BARE)
        return;
    ck_assert_msg(span_is(path, paths[_i].path), "%s: %.*s", paths[_i].args,
                  (int)path.n, path.p);
    describe(text, sizeof text, params, n);
    ck_assert_msg(strcmp(text, paths[_i].params) == 0, "%s: %s", paths[_i].args,
                  text);
}
END_TEST

START_TEST(recipient_keyword)
{
    struct smtp_param params[SMTP_PARAMS_MAX];
    struct span path;
    size_t n;

    ck_assert_int_eq(smtp_path_args(SPAN_LIT("to:<a@b> NOTIFY=NEVER"),
                                    "TO:", &path, params, &n),
                     SMTP_SYNTAX_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(
        smtp_path_args(SPAN_LIT("from:<a@b>"), "TO:", &path, params, &n),
        SMTP_SYNTAX_BAD);
    ck_assert_uint_eq(n, 0);
}
END_TEST

static const struct {
    const char *in;
    bool ok;
} helos[] = {
    { "a", true },
    { "mail.example.com", true },
    { "mail.example.com.", true },
    { "my_pc", true },
    { "_", true },
    { "host-", true },
    { "-host", true },
    { "192.0.2.1", true },
    { "2001:db8::1", true },
    { "b\303\274ro", true },
    { "[192.0.2.1]", true },
    { "[IPv6:::1]", true },
    { "[ipv6:2001:db8::1]", true },
    { "", false },
    { "two words", false },
    { "tab\there", false },
    { "a\001", false },
    { "a\177", false },
    { "a\200", false },
    { "a\303", false },
    /* broken literals */
    { "[", false },
    { "[]", false },
    { "[1.2.3", false },
    { "[1.2.3.4", false },
    { "[1.2.3]", false },
    { "[1.2.3.4]x", false },
    { "[1.2.3.256]", false },
    { "[::1]", false },
    { "[IPv6:]", false },
    { "[IPv6:zz]", false },
    { "[IPv6:1.2.3.4]", false },
    { "[mail.example.com]", false },
    { "a[1.2.3.4]", false },
    { "1.2.3.4]", false },
    /* special to headers, markup and shells */
    { "<a>", false },
    { "a>b", false },
    { "\"a\"", false },
    { "it's", false },
    { "a;b", false },
    { "a|b", false },
    { "$HOME", false },
    { "$(id)", false },
    { "`id`", false },
    { "a&b", false },
    { "a\\b", false },
    { "{a}", false },
    { "*", false },
    { "a?", false },
    { "~a", false },
    { "a!", false },
    { "a#b", false },
    { "a%b", false },
    { "a=b", false },
    { "a^b", false },
};

START_TEST(helo_name)
{
    struct span name = SPAN_LIT("untouched");
    bool ok = smtp_helo_name(span_of(helos[_i].in), &name);

    ck_assert_msg(ok == helos[_i].ok, "%s", helos[_i].in);
    ck_assert(span_is(name, ok ? helos[_i].in : "untouched"));
}
END_TEST

START_TEST(helo_length)
{
    char text[256];
    struct span name;

    memset(text, 'x', sizeof text);
    ck_assert(smtp_helo_name((struct span){ text, 255 }, &name));
    ck_assert(!smtp_helo_name((struct span){ text, 256 }, &name));
}
END_TEST

Suite *smtp_command_suite(void);
Suite *smtp_command_suite(void)
{
    Suite *s = suite_create("smtp.command");
    TCase *t = tcase_create("command");

    tcase_add_loop_test(t, verbs, 0, COUNT(lines));
    tcase_add_loop_test(t, bad_octets, 0, COUNT(bad_lines));
    tcase_add_test(t, names);
    tcase_add_loop_test(t, path_args, 0, COUNT(paths));
    tcase_add_test(t, recipient_keyword);
    tcase_add_loop_test(t, helo_name, 0, COUNT(helos));
    tcase_add_test(t, helo_length);
    suite_add_tcase(s, t);
    return s;
}
