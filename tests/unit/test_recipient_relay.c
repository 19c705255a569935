/* test_recipient_relay.c - domains that are relayed, and their recipients. */
#include "config/conf.h"
#include "recipient/relay.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char listed[] = "/tmp/mta-relay-XXXXXX";
static struct relay *relay;
static struct err e;

static void write_file(const char *text)
{
    FILE *f = fopen(listed, "w");

    ck_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static int open_relay(void)
{
    static struct conf_relay items[] = {
        { .domain = "all.example" },
        { .domain = "some.example" },
        { .domain = "two.example" },
        { .domain = "deep.example", .below = true },
        { .domain = "closed.deep.example" },
        { .domain = "a.deep.example", .below = true },
        { .domain = "xn--bcher-kva.example" },
    };
    static const struct conf_relays c = { sizeof items / sizeof items[0],
                                          items };

    for (size_t i = 0; i < c.n; i++)
        if (strchr("stcx", items[i].domain[0]) != NULL ||
            strcmp(items[i].domain, "a.deep.example") == 0)
            snprintf(items[i].recipients, sizeof items[i].recipients, "%s",
                     listed);
    return relay_open(&relay, &c, "+", &e);
}

static void set_up(void)
{
    int fd = mkstemp(listed);

    ck_assert_int_ge(fd, 0);
    close(fd);
    write_file("\xef\xbb\xbf# those that exist\n\nAnn\n  bob@Some.example\r\n"
               "carl+own\njohn smith@two.example\nann\nx/y\nodd%one\n"
               "d@b\303\274cher.example\n");
    ck_assert_msg(open_relay() == 0, "%s", e.text);
}

static void tear_down(void)
{
    relay_close(&relay);
    unlink(listed);
    memcpy(listed + sizeof listed - 7, "XXXXXX", 6);
}

static const struct {
    const char *local, *domain;
    enum relay_verdict verdict;
} cases[] = {
    { "zoe", "all.example", RELAY_OK },
    { "zoe", "ALL.Example", RELAY_OK },
    { "zoe", "sub.all.example", RELAY_NO }, /* only if it is written */
    { "zoe", "xall.example", RELAY_NO },
    { "zoe", "example", RELAY_NO },
    { "zoe", "", RELAY_NO },
    { "ann", "some.example", RELAY_OK },
    { "ANN", "two.example", RELAY_OK },
    { "ann+tag", "some.example", RELAY_OK },
    { "zoe", "some.example", RELAY_UNKNOWN },
    { "zoe+ann", "some.example", RELAY_UNKNOWN },
    { "+ann", "some.example", RELAY_UNKNOWN },
    { "bob", "SOME.example", RELAY_OK },
    { "bob", "two.example", RELAY_UNKNOWN },
    { "carl+own", "two.example", RELAY_OK },
    { "carl", "two.example", RELAY_UNKNOWN },
    { "john smith", "two.example", RELAY_OK },
    { "x/y", "two.example", RELAY_OK },
    { "PostMaster", "two.example", RELAY_OK },
    { "zoe", "deep.example", RELAY_NO },
    { "zoe", "b.deep.example", RELAY_OK },
    { "zoe", "c.b.deep.example", RELAY_OK },
    { "zoe", "closed.deep.example", RELAY_UNKNOWN }, /* the domain itself */
    { "zoe", "a.deep.example", RELAY_OK },
    { "zoe", "b.a.deep.example", RELAY_UNKNOWN }, /* the longest */
    { "ann", "b.a.deep.example", RELAY_OK },
    { "d", "b\303\274cher.example", RELAY_OK },
    { "d", "XN--bcher-kva.example", RELAY_OK },
    { "e", "xn--bcher-kva.example", RELAY_UNKNOWN },
    /* on to a third host */
    { "x%far.example", "all.example", RELAY_NO },
    { "far.example!x", "all.example", RELAY_NO },
    { "x@far.example", "all.example", RELAY_NO },
    { "postmaster+%far.example", "all.example", RELAY_NO },
    { "ann+%far.example", "some.example", RELAY_UNKNOWN },
    { "ann%far.example", "some.example", RELAY_UNKNOWN },
    { "odd%one", "some.example", RELAY_OK },
};

START_TEST(verdict)
{
    enum relay_verdict v =
        relay_check(relay, span_of(cases[_i].local), span_of(cases[_i].domain));

    ck_assert_msg(v == cases[_i].verdict, "%s@%s: %d", cases[_i].local,
                  cases[_i].domain, (int)v);
}
END_TEST

START_TEST(bad_files)
{
    static const char *const lines[] = { "@two.example", "ann@", "a\001b",
                                         "@" };
    char where[64];

    snprintf(where, sizeof where, "%s:2: not a recipient", listed);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[64];
        relay_close(&relay);
        snprintf(text, sizeof text, "ann\n%s\n", lines[i]);
        write_file(text);
        ck_assert_int_ne(open_relay(), 0);
        ck_assert_ptr_null(relay);
        ck_assert_msg(strstr(e.text, where) != NULL, "%s", e.text);
    }
    unlink(listed);
    ck_assert_int_ne(open_relay(), 0);
    ck_assert_msg(strstr(e.text, listed) != NULL, "%s", e.text);
}
END_TEST

static int count(void *ctx, const char *path, struct err *why)
{
    (void)why;
    ck_assert_str_eq(path, listed);
    return ++*(int *)ctx == 2 ? -1 : 0;
}

START_TEST(files)
{
    struct conf_relay items[4] = { { .domain = "a" } };
    const struct conf_relays c = { 4, items };
    int n = 0;

    for (int i = 1; i < 4; i++)
        snprintf(items[i].recipients, sizeof items[i].recipients, "%s", listed);
    ck_assert_int_eq(relay_each_file(&c, count, &n, &e), -1);
    ck_assert_int_eq(n, 2);
}
END_TEST

Suite *recipient_relay_suite(void);
Suite *recipient_relay_suite(void)
{
    Suite *s = suite_create("recipient.relay");
    TCase *t = tcase_create("relay");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, verdict, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, bad_files);
    tcase_add_test(t, files);
    suite_add_tcase(s, t);
    return s;
}
