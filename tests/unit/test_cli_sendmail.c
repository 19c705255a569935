/* test_cli_sendmail.c - the options of sendmail(8), and the header of a
 * message. */
#include "cli/sendmail.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

enum { ARGS_MAX = 12 };

/* --- options -------------------------------------------------------------- */

static const struct {
    const char *line, *want;
} lines[] = {
    { "joe", "mode=0 joe" },
    { "-t", "mode=0 t" },
    { "-ti", "mode=0 t i" },
    { "-it joe", "mode=0 t i joe" },
    { "-oi -oem -odb joe", "mode=0 i joe" },
    { "-oitrue", "mode=0 i" },
    { "-odq joe", "mode=0 dq joe" },
    { "-odq -odb joe", "mode=0 joe" },
    { "-odqx -odd -odi joe", "mode=0 joe" },
    { "-o i joe", "mode=0 i joe" },
    { "-o joe", "mode=0 joe" },
    { "-e m joe", "mode=0 joe" },
    { "-e joe", "mode=0 joe" },
    { "-fa@b joe", "mode=0 f=a@b joe" },
    { "-f a@b -r c joe", "mode=0 f=c joe" },
    { "-tif a@b joe", "mode=0 t i f=a@b joe" },
    { "-f <> joe", "mode=0 f=<> joe" },
    { "-FFull joe", "mode=0 F=Full joe" },
    { "-F -x joe", "mode=0 F=-x joe" },
    { "-N never -R hdrs -V id joe", "mode=0 N=never R=hdrs V=id joe" },
    { "-Nnever -Rhdrs -Vid joe", "mode=0 N=never R=hdrs V=id joe" },
    { "-B8BITMIME joe", "mode=0 8 joe" },
    { "-B 7BIT joe", "mode=0 joe" },
    { "-C /x joe", "mode=0 C=/x joe" },
    { "-X log -L tag -p SMTP -h 3 -O a=b joe", "mode=0 joe" },
    { "-Ac -d -d0.1 -G -U -n -x -E -J -c joe", "mode=0 joe" },
    { "joe -v ann", "mode=0 v joe ann" },
    { "-v -- -f joe", "mode=0 v -f joe" },
    { "joe -", "mode=0 joe -" },
    { "-Z joe", "mode=0 unknown=-Z joe" },
    { "-Zvalue -k joe", "mode=0 unknown=-Zvalue joe" },
    { "-tZi joe", "mode=0 t unknown=-tZi joe" },
    { "--what joe", "mode=0 unknown=--what joe" },
    { "--help", "mode=8" },
    { "-bm joe", "mode=0 joe" },
    { "-ba joe", "mode=0 joe" },
    { "-b m joe", "mode=0 joe" },
    { "-bs", "mode=1" },
    { "-bp", "mode=2" },
    { "-bv joe", "mode=3 joe" },
    { "-bt joe", "mode=3 joe" },
    { "-bi", "mode=4" },
    { "-I", "mode=4" },
    { "-bd -q30m", "mode=5" },
    { "-q30m -bd", "mode=5" },
    { "-bdf", "mode=5" },
    { "-bl", "mode=5" },
    { "-q", "mode=6" },
    { "-q15m", "mode=6" },
    { "-qf", "mode=6" },
    { "-qIid", "mode=6 qI=id" },
    { "-qR domain", "mode=6 qR=domain" },
    { "-qS s", "mode=6 qS=s" },
    { "-bh", "mode=7" },
    { "-bH", "mode=7" },
};

static char words[256], *argv[ARGS_MAX + 1];

static int split(const char *line)
{
    int argc = 1;

    snprintf(words, sizeof words, "%s", line);
    argv[0] = (char *)(uintptr_t) "sendmail";
    for (char *p = words; *p != '\0' && argc < ARGS_MAX;) {
        argv[argc++] = p;
        p += strcspn(p, " ");
        if (*p == ' ')
            *p++ = '\0';
    }
    argv[argc] = NULL;
    return argc;
}

static void put(struct buf *b, const char *name, const char *value)
{
    if (value != NULL)
        buf_addf(b, " %s=%s", name, value);
}

static void print(struct buf *b, const struct sendmail_options *o)
{
    const char q[] = { 'q', o->queued, '\0' };

    buf_addf(b, "mode=%d%s%s%s%s%s", (int)o->mode, o->from_text ? " t" : "",
             o->dots ? " i" : "", o->verbose ? " v" : "",
             o->eight_bit ? " 8" : "", o->queue_only ? " dq" : "");
    put(b, "f", o->sender);
    put(b, "F", o->name);
    put(b, "N", o->notify);
    put(b, "R", o->ret);
    put(b, "V", o->envid);
    put(b, "C", o->config);
    put(b, q, o->queued_text);
    put(b, "unknown", o->unknown);
    for (int i = 0; i < o->nargs; i++)
        buf_addf(b, " %s", o->args[i]);
}

START_TEST(options_are)
{
    char text[512];
    struct buf b = BUF_ON(text);
    struct sendmail_options o;
    int argc = split(lines[_i].line);

    ck_assert_int_eq(sendmail_options(&o, argc, argv), EX_OK);
    print(&b, &o);
    ck_assert_msg(strcmp(text, lines[_i].want) == 0, "%s: %s", lines[_i].line,
                  text);
}
END_TEST

static const char *const refused[] = { "-f",  "-tf", "-N",  "-C",
                                       "-bz", "-b",  "-qI", "-bx joe" };

START_TEST(options_are_refused)
{
    struct sendmail_options o;
    int argc = split(refused[_i]);

    ck_assert_msg(sendmail_options(&o, argc, argv) == EX_USAGE, "%s",
                  refused[_i]);
}
END_TEST

/* --- the header ----------------------------------------------------------- */

/* values: of the fields with recipients, each behind a "|"; head and body as
 * they are sent. */
static const struct {
    const char *name, *text, *values, *head, *body;
    bool from, resent;
} texts[] = {
    { "usual", "To: a\r\nFrom: b\r\n\r\nx\r\n", "| a", "To: a\r\nFrom: b\r\n",
      "\r\nx\r\n", true, false },
    { "empty", "", "", "", "\r\n", false, false },
    { "no header", "hello\r\n", "", "", "\r\nhello\r\n", false, false },
    { "a blank first", " To: a\r\n", "", "", "\r\n To: a\r\n", false, false },
    { "header alone", "To: a\r\n", "| a", "To: a\r\n", "\r\n", false, false },
    { "header that ends without an empty line", "To: a\r\nx y\r\n", "| a",
      "To: a\r\n", "\r\nx y\r\n", false, false },
    { "folded", "To: a,\r\n b\r\nX: y\r\n\r\n", "| a,\r\n b",
      "To: a,\r\n b\r\nX: y\r\n", "\r\n", false, false },
    { "blank in front of the colon", "to : a\r\n\r\n", "| a", "to : a\r\n",
      "\r\n", false, false },
    { "Bcc", "Bcc: a,\r\n\tb\r\nCc: c\r\nBCC: d\r\n\r\nBcc: x\r\n",
      "| a,\r\n\tb| c| d", "Cc: c\r\n", "\r\nBcc: x\r\n", false, false },
    { "empty From", "From: \r\n \r\nX: y\r\n\r\n", "", "X: y\r\n", "\r\n",
      false, false },
    { "of a mailbox", "From a Mon\r\n>From b\r\nTo: c\r\n\r\nFrom x\r\n", "| c",
      "To: c\r\n", "\r\nFrom x\r\n", false, false },
    { "From_ alone", "From a Mon\r\n", "", "", "\r\n", false, false },
    { "resent",
      "Resent-To: a\r\nResent-Bcc: b\r\nTo: c\r\nResent-To: d\r\n\r\n",
      "| a| b", "Resent-To: a\r\nTo: c\r\nResent-To: d\r\n", "\r\n", false,
      true },
    { "resent, the newest without recipients",
      "Resent-From: a\r\nTo: c\r\nResent-To: d\r\n\r\n", "| d",
      "Resent-From: a\r\nTo: c\r\nResent-To: d\r\n", "\r\n", false, true },
    { "no names", ": a\r\nTo: b\r\n", "", "", "\r\n: a\r\nTo: b\r\n", false,
      false },
    { "control in a name", "T\x01o: a\r\n\r\n", "", "", "\r\nT\x01o: a\r\n\r\n",
      false, false },
};

static int take_value(void *ctx, struct span value)
{
    buf_addf(ctx, "|%.*s", (int)value.n, value.p);
    return EX_OK;
}

START_TEST(header_is)
{
    const char *given = texts[_i].text, *name = texts[_i].name;
    char values[256], sent[256], want[256];
    struct buf v = BUF_ON(values), b = BUF_ON(sent);
    struct sendmail_text t = { .mem = strdup(given),
                               .n = strlen(given),
                               .file = -1 };

    values[0] = '\0';
    ck_assert_int_eq(sendmail_text_header(&t, take_value, &v), EX_OK);
    ck_assert_msg(strcmp(values, texts[_i].values) == 0, "%s: values %s", name,
                  values);
    buf_addf(&b, "%.*s|%s%.*s", (int)(t.head_end - t.head), t.mem + t.head,
             t.blank ? "\r\n" : "", (int)(t.n - t.body), t.mem + t.body);
    snprintf(want, sizeof want, "%s|%s", texts[_i].head, texts[_i].body);
    ck_assert_msg(strcmp(sent, want) == 0, "%s: sent %s", name, sent);
    ck_assert_msg(t.has_from == texts[_i].from && t.resent == texts[_i].resent,
                  "%s: fields", name);
    ck_assert_msg(sendmail_text_size(&t) == strlen(want) - 1, "%s: size", name);
    sendmail_text_free(&t);
}
END_TEST

Suite *cli_sendmail_suite(void);
Suite *cli_sendmail_suite(void)
{
    Suite *s = suite_create("cli.sendmail");
    TCase *t = tcase_create("sendmail");
    tcase_add_loop_test(t, options_are, 0, N(lines));
    tcase_add_loop_test(t, options_are_refused, 0, N(refused));
    tcase_add_loop_test(t, header_is, 0, N(texts));
    suite_add_tcase(s, t);
    return s;
}
