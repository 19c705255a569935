/* test_mail_rewrite.c - addresses of envelope and header. */
#include "mail/rewrite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define RULES                                                                  \
    "rewrite.rules=sender app@box.test=app@corp.test,"                         \
    "both @old.test=@new.test,recipient *@.lab.test=sink@corp.test,"           \
    "sender nobody=nobody"

static struct conf conf;

static void load(const char *first, const char *second)
{
    struct conf_override o[4] = { { "hostname", "box.test", "-o" } };
    struct conf_source from = { .file = "/dev/null", .over = o, .nover = 1 };
    const char *more[] = { first, second };
    char key[2][32];
    struct err e;

    for (size_t i = 0; i < 2; i++) {
        const char *eq = more[i] != NULL ? strchr(more[i], '=') : NULL;
        if (eq == NULL)
            continue;
        ck_assert(span_copy(key[i], sizeof key[i],
                            (struct span){ more[i], (size_t)(eq - more[i]) }));
        o[from.nover++] = (struct conf_override){ key[i], eq + 1, "-o" };
    }
    ck_assert_msg(conf_load(&conf, &from, &e) == 0, "%s", e.text);
}

/* --- the envelope ----------------------------------------------------- */

static const struct {
    const char *setting, *more;
    enum conf_rewrite_of of;
    const char *address, *becomes; /* NULL: it stays */
} envelope[] = {
    { NULL, NULL, CONF_REWRITE_SENDER, "root", "root@box.test" },
    { NULL, NULL, CONF_REWRITE_SENDER, "root@box.test", NULL },
    { NULL, NULL, CONF_REWRITE_SENDER, "", NULL },
    { "rewrite.from=me@isp.test", NULL, CONF_REWRITE_SENDER, "", NULL },
    { "rewrite.from=me@isp.test", NULL, CONF_REWRITE_SENDER, "root",
      "me@isp.test" },
    { "rewrite.from=me@isp.test", NULL, CONF_REWRITE_SENDER, "a@far.test",
      "me@isp.test" },
    { "rewrite.from=me@isp.test", NULL, CONF_REWRITE_SENDER, "me@isp.test",
      NULL },
    { "rewrite.from=me@isp.test", NULL, CONF_REWRITE_RECIPIENT, "a@far.test",
      NULL },
    { "rewrite.from=me@isp.test", NULL, CONF_REWRITE_RECIPIENT, "ann",
      "ann@box.test" },
    { "rewrite.from=me@isp.test", RULES, CONF_REWRITE_SENDER, "app@box.test",
      "app@corp.test" },
    { "rewrite.from=me@isp.test", RULES, CONF_REWRITE_SENDER, "APP@BOX.test",
      "app@corp.test" },
    { "rewrite.from=me@isp.test", RULES, CONF_REWRITE_SENDER, "app",
      "app@corp.test" },
    { "rewrite.from=me@isp.test", RULES, CONF_REWRITE_SENDER,
      "nobody@localhost", "nobody@box.test" },
    { "rewrite.from=me@isp.test", RULES, CONF_REWRITE_SENDER, "nobody@box.test",
      NULL },
    { RULES, NULL, CONF_REWRITE_SENDER, "x@old.test", "x@new.test" },
    { RULES, NULL, CONF_REWRITE_RECIPIENT, "x.y+z@old.test", "x.y+z@new.test" },
    { RULES, NULL, CONF_REWRITE_RECIPIENT, "\"a b\"@old.test",
      "\"a b\"@new.test" },
    { RULES, NULL, CONF_REWRITE_RECIPIENT, "a@deep.lab.test",
      "sink@corp.test" },
    { RULES, NULL, CONF_REWRITE_RECIPIENT, "a@lab.test", NULL },
    { RULES, NULL, CONF_REWRITE_RECIPIENT, "a@slab.test", NULL },
    { RULES, NULL, CONF_REWRITE_RECIPIENT, "app@box.test", NULL },
    { RULES, NULL, CONF_REWRITE_SENDER, "a@sub.old.test", NULL },
    { "rewrite.rules=both *=all@corp.test", NULL, CONF_REWRITE_RECIPIENT,
      "whoever@[192.0.2.1]", "all@corp.test" },
};

START_TEST(an_address_of_the_envelope)
{
    char out[SMTP_ADDRESS_MAX] = "(as it was)";
    struct rewrite_notes notes = { 0, "" };
    const char *becomes = envelope[_i].becomes;

    load(envelope[_i].setting, envelope[_i].more);
    bool done = rewrite_envelope(&conf, envelope[_i].of,
                                 span_of(envelope[_i].address), out, &notes);
    ck_assert_int_eq(done, becomes != NULL);
    ck_assert_str_eq(out, becomes != NULL ? becomes : "(as it was)");
    conf_free(&conf);
}
END_TEST

START_TEST(rules_are_noted_once)
{
    char out[SMTP_ADDRESS_MAX];
    struct rewrite_notes n = { 0, "" };

    load("rewrite.from=me@isp.test", RULES);
    for (int i = 0; i < 2; i++) {
        (void)rewrite_envelope(&conf, CONF_REWRITE_SENDER, SPAN_LIT("root"),
                               out, &n);
        (void)rewrite_envelope(&conf, CONF_REWRITE_RECIPIENT,
                               SPAN_LIT("a@old.test"), out, &n);
    }
    ck_assert_str_eq(n.text,
                     "sender root to me@isp.test by rewrite.from\n"
                     "recipient a@old.test to a@new.test by rewrite.rules"
                     " \"both @old.test=@new.test\"");
    for (int i = 0; i < 100; i++) { /* more than there is room for */
        char many[32];
        snprintf(many, sizeof many, "u%d@old.test", i);
        (void)rewrite_envelope(&conf, CONF_REWRITE_RECIPIENT, span_of(many),
                               out, &n);
    }
    ck_assert_uint_lt(n.n, sizeof n.text);
    ck_assert_uint_eq(n.n, strlen(n.text));
    conf_free(&conf);
}
END_TEST

/* --- the header ------------------------------------------------------- */

#define FROM "rewrite.from=me@isp.test"
#define BODY "\r\nFrom: root\r\n"

static const struct {
    const char *name, *setting;
    bool complete;
    const char *text, *becomes; /* becomes NULL: the same */
} header[] = {
    { "bare names", NULL, false,
      "From: root\r\nTo: ann, Bob <bob>,\r\n carl@far.test\r\nCC:dan"
      "\r\n"
      "Subject: to: root\r\n" BODY,
      "From: root@box.test\r\nTo: ann@box.test, Bob <bob@box.test>,\r\n"
      " carl@far.test\r\nCC:dan@box.test\r\nSubject: to: root\r\n" BODY },
    { "nothing to do", NULL, false,
      "From: a@b.test\r\nReceived: from root by x; date\r\n" BODY, NULL },
    { "cron", FROM, false, "From: root (Cron Daemon)\r\nTo: root\r\n" BODY,
      "From: me@isp.test (Cron Daemon)\r\nTo: root@box.test\r\n" BODY },
    { "display name", FROM, false,
      "FROM : \"R, Oot\" <root@box.test>\r\nSender: root\r\n"
      "Reply-To: root\r\n" BODY,
      "FROM : \"R, Oot\" <me@isp.test>\r\nSender: me@isp.test\r\n"
      "Reply-To: root@box.test\r\n" BODY },
    { "folded", FROM, false,
      "From: Someone\r\n\t<root@box.test>\r\n (a note)\r\n" BODY,
      "From: Someone\r\n\t<me@isp.test>\r\n (a note)\r\n" BODY },
    { "no address", FROM, false, "From: Cron Daemon\r\n" BODY,
      "From: Cron Daemon <me@isp.test>\r\n" BODY },
    { "empty angle", FROM, false, "From: Daemon <>\r\n" BODY,
      "From: Daemon <me@isp.test>\r\n" BODY },
    { "empty", FROM, false, "From:\r\nTo:\r\nCc: \r\n" BODY, NULL },
    { "no address, no setting", NULL, false, "From: Cron Daemon\r\n" BODY,
      NULL },
    { "group", RULES, false,
      "To: friends: x@old.test, y@else.test;, z@old.test\r\n" BODY,
      "To: friends: x@new.test, y@else.test;, z@new.test\r\n" BODY },
    { "route", RULES, false, "To: <@a.test,@b.test:x@old.test>\r\n" BODY,
      "To: <@a.test,@b.test:x@new.test>\r\n" BODY },
    { "comment inside", RULES, false, "To: x(me)@old.test (you)\r\n" BODY,
      "To: x@new.test (you)\r\n" BODY },
    { "no address at all", RULES, false, "To: ???@@, <a b c>\r\n" BODY, NULL },
    { "all there", NULL, true,
      "Date: d\r\nmessage-id: <i>\r\nfrom: a@b.test\r\n" BODY, NULL },
    { "incomplete", NULL, true, "Subject: s\r\n" BODY,
      "Subject: s\r\nFrom: \"Ro \\\"o\\\" t\" <root@box.test>\r\n"
      "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
      "Message-ID: <0000000000000000@box.test>\r\n" BODY },
    { "incomplete, from", FROM, true, "Date: d\r\nMessage-ID: <i>\r\n" BODY,
      "Date: d\r\nMessage-ID: <i>\r\n"
      "From: \"Ro \\\"o\\\" t\" <me@isp.test>\r\n" BODY },
    { "header alone", NULL, true, "Date: d\r\nMessage-ID: <i>\r\nFrom: root",
      "Date: d\r\nMessage-ID: <i>\r\nFrom: root@box.test\r\n" },
    { "body at once", NULL, true,
      "Date: d\r\nMessage-ID: <i>\r\nFrom: a@b\r\n"
      "no field here\r\n",
      "Date: d\r\nMessage-ID: <i>\r\nFrom: a@b\r\n\r\nno field here\r\n" },
    { "body at once, as it is", NULL, false,
      "From: a\r\nno field here\r\n"
      "To: root\r\n",
      "From: a@box.test\r\nno field here\r\nTo: root\r\n" },
    { "long name of a field", NULL, false,
      "X-A-name-that-is-longer-than-any-that-we-know: root\r\nTo: a\r\n" BODY,
      "X-A-name-that-is-longer-than-any-that-we-know: root\r\n"
      "To: a@box.test\r\n" BODY },
    { "no text", NULL, false, "", NULL },
    { "CR that is no line end", NULL, false, "To: a\r\n\rTo: b\r\n",
      "To: a@box.test\r\n\rTo: b\r\n" },
};

struct text {
    size_t n;
    char p[256 * 1024];
};

static int keep(void *ctx, const char *p, size_t n)
{
    struct text *t = ctx;

    ck_assert_uint_lt(t->n + n, sizeof t->p);
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = '\0';
    return 0;
}

static struct text out;

static void rewrite(struct span text, size_t piece, bool complete,
                    struct rewrite_notes *notes)
{
    struct rewrite_job job = { .conf = &conf,
                               .complete = complete,
                               .sender = SPAN_LIT("root"),
                               .name = "Ro \"o\" t",
                               .put = keep,
                               .ctx = &out,
                               .notes = notes };
    struct rewrite_header *h;
    struct err e;

    out.n = 0;
    out.p[0] = '\0';
    ck_assert_int_eq(rewrite_header_new(&h, &job, &e), 0);
    while (text.n > 0) {
        size_t n = piece < text.n ? piece : text.n;
        ck_assert_int_eq(rewrite_header_feed(h, text.p, n), 0);
        text = (struct span){ text.p + n, text.n - n };
    }
    ck_assert_int_eq(rewrite_header_end(h), 0);
    rewrite_header_free(&h);
}

START_TEST(a_header)
{
    const char *becomes = header[_i].becomes;

    load(header[_i].setting, NULL);
    for (size_t piece = 1; piece < 300; piece += piece < 8 ? 1 : 41) {
        struct rewrite_notes notes = { 0, "" };
        rewrite(span_of(header[_i].text), piece, header[_i].complete, &notes);
        ck_assert_msg(
            strcmp(out.p, becomes != NULL ? becomes : header[_i].text) == 0,
            "%s, pieces of %zu: %s", header[_i].name, piece, out.p);
    }
    conf_free(&conf);
}
END_TEST

/* A list of any length, held an address at a time; lines stay short. */
START_TEST(a_long_list)
{
    static char text[100 * 1024];
    size_t n = (size_t)snprintf(text, sizeof text, "To: ");

    for (int i = 0; i < 5000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%su%d@old.test",
                              i > 0 ? ", " : "", i);
    n += (size_t)snprintf(text + n, sizeof text - n, "\r\n\r\n");
    load("rewrite.rules=both @old.test=@a.much.longer.name.new.test", NULL);
    rewrite((struct span){ text, n }, 1000, false, NULL);
    const char *line = out.p, *end;
    size_t found = 0;
    while ((end = strstr(line, "\r\n")) != NULL) {
        ck_assert_int_le(end - line, 998);
        line = end + 2;
    }
    for (const char *p = out.p; (p = strstr(p, "@a.much")) != NULL; p++)
        found++;
    ck_assert_uint_eq(found, 5000);
    ck_assert_ptr_null(strstr(out.p, "@old"));
    conf_free(&conf);
}
END_TEST

static int refuse(void *ctx, const char *p, size_t n)
{
    (void)p;
    (void)n;
    return --*(int *)ctx < 0 ? -1 : 0;
}

/* No memory for the text: every call fails once. */
START_TEST(no_room)
{
    static const char text[] = "From: root, x\r\nTo: a\r\n\r\nbody\r\n";
    int left = _i;
    struct rewrite_job job = { .conf = &conf,
                               .complete = true,
                               .sender = SPAN_LIT("root"),
                               .put = refuse,
                               .ctx = &left };
    struct rewrite_header *h;
    struct err e;

    load(FROM, NULL);
    ck_assert_int_eq(rewrite_header_new(&h, &job, &e), 0);
    int rc = rewrite_header_feed(h, text, sizeof text - 1);
    if (rc == 0)
        rc = rewrite_header_end(h);
    ck_assert_int_eq(rc == 0, left >= 0);
    rewrite_header_free(&h);
    conf_free(&conf);
}
END_TEST

Suite *mail_rewrite_suite(void);
Suite *mail_rewrite_suite(void)
{
    Suite *s = suite_create("mail.rewrite");
    TCase *t = tcase_create("rewrite");

    tcase_add_loop_test(t, an_address_of_the_envelope, 0,
                        sizeof envelope / sizeof envelope[0]);
    tcase_add_test(t, rules_are_noted_once);
    tcase_add_loop_test(t, a_header, 0, sizeof header / sizeof header[0]);
    tcase_add_test(t, a_long_list);
    tcase_add_loop_test(t, no_room, 0, 30);
    suite_add_tcase(s, t);
    return s;
}
