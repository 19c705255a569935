/* test_mail_address_list.c - mailboxes of header fields, in any pieces. */
#include "mail/address_list.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

/* The elements as "spec|addr;" or "-" (none), "phrase", with a "!" where they
 * are broken; and all of the text. */
struct seen {
    char elements[1024];
    char text[3 * ADDRESS_ELEMENT_MAX];
};

static const struct {
    const char *value, *elements;
} cases[] = {
    { " root\r\n", "root|root;" },
    { " joe@x.example", "joe@x.example|joe@x.example;" },
    { " Joe <joe@x.example>\r\n", "joe@x.example|joe@x.example;" },
    { " \"Joe, Jr.\" <joe@x>, ann@y", "joe@x|joe@x;ann@y|ann@y;" },
    { " root (Cron Daemon)\r\n", "root|root;" },
    { " (a (nested) \\) comment) root", "root|root;" },
    { " joe @ x . example", "joe @ x . example|joe@x.example;" },
    { " joe(c)@(d)x", "joe(c)@(d)x|joe@x;" },
    { " Cron Daemon\r\n", "phrase;" },
    { " joe smith@x", "phrase;" },
    { " \"joe smith\"@x", "\"joe smith\"@x|\"joe smith\"@x;" },
    { " \"a\\\"b,c\"@x", "\"a\\\"b,c\"@x|\"a\\\"b,c\"@x;" },
    { " joe@[192.0.2.1]", "joe@[192.0.2.1]|joe@[192.0.2.1];" },
    { " joe@[IPv6:2001:db8::1], b@c",
      "joe@[IPv6:2001:db8::1]|joe@[IPv6:2001:db8::1];b@c|b@c;" },
    { " <@a,@b:joe@x>", "joe@x|joe@x;" },
    { " <>", "<>;" },
    { " Joe <>", "<>;" },
    { " team: a@b, c@d; , e@f", "-;a@b|a@b;c@d|c@d;-;e@f|e@f;" },
    { " undisclosed-recipients:;\r\n", "-;-;-;" },
    { ",,", "-;-;" },
    { "", "" },
    { " Joe\r\n\t<joe@x>,\r\n\tann", "joe@x|joe@x;ann|ann;" },
    { " Joe <joe@x", "joe@x|joe@x;" },
    { " <Joe Smith>", "-!;" },
    { " Joe <joe smith@x>, ann@y", "-!;ann@y|ann@y;" },
    { " <joe@x> <ann@y>, bob@z", "joe@x|joe@x;ann@y|ann@y;bob@z|bob@z;" },
    { " J <joe@x>(c)\r\n A <ann@y>", "joe@x|joe@x;ann@y|ann@y;" },
    { " <joe@x> Joe", "joe@x|joe@x;" },
    { " <<joe@x>>", "joe@x|joe@x;" },
    { " joe@x> ,a", "joe@x|joe@x;a|a;" },
    { " (open comment, joe@x", "-!;" },
    { " joe@x (open comment, ann@y", "joe@x|joe@x!;" },
    { " \"open quote, joe@x", "\"open quote, joe@x|\"open quote, joe@x!;" },
    { " joe@[192.0.2.1, ann@y",
      "joe@[192.0.2.1, ann@y|joe@[192.0.2.1, ann@y!;" },
};

static int note(void *ctx, const struct address_element *el)
{
    struct seen *s = ctx;
    char *end = s->elements + strlen(s->elements);
    size_t room = sizeof s->elements - (size_t)(end - s->elements);

    ck_assert(el->text.n > 0);
    strncat(s->text, el->text.p, el->text.n);
    if (el->phrase) {
        snprintf(end, room, "phrase;");
    } else if (el->spec.n > 0) {
        ck_assert(el->spec.p >= el->text.p);
        ck_assert(el->spec.p + el->spec.n <= el->text.p + el->text.n);
        snprintf(end, room, "%.*s|%.*s%s;", (int)el->spec.n, el->spec.p,
                 (int)el->addr.n, el->addr.p, el->broken ? "!" : "");
    } else if (el->addr.n > 0) {
        snprintf(end, room, "|%.*s;", (int)el->addr.n, el->addr.p);
    } else {
        snprintf(end, room, "%s%s;",
                 el->spec.p != NULL && el->angle ? "<>" : "-",
                 el->broken ? "!" : "");
    }
    return 0;
}

START_TEST(elements)
{
    static struct address_list l;

    for (size_t piece = 1; piece < 40; piece += piece < 4 ? 1 : 7) {
        struct span rest = span_of(cases[_i].value);
        struct seen s = { "", "" };
        address_list_start(&l);
        while (rest.n > 0) {
            size_t n = piece < rest.n ? piece : rest.n;
            struct span now = { rest.p, n };
            ck_assert_int_eq(address_list_feed(&l, now, note, &s), 0);
            rest = (struct span){ rest.p + n, rest.n - n };
        }
        ck_assert_int_eq(address_list_end(&l, note, &s), 0);
        ck_assert_str_eq(s.elements, cases[_i].elements);
        ck_assert_str_eq(s.text, cases[_i].value);
    }
}
END_TEST

/* Of an element in pieces the last one has the address: a name of any length
 * costs no recipient. */
static const struct {
    const char *front, *behind, *elements;
} long_ones[] = {
    { "", ",a@b", "-;-;phrase;a@b|a@b;" },
    { "\"", "\" <j@x>,a@b", "-;-;|j@x;a@b|a@b;" },
    { "j@x (", "),a@b", "-;-;|j@x;a@b|a@b;" },
    { "Joe ", ",a@b", "-;-;phrase;a@b|a@b;" },
    { "<", "@x>,a@b", "-;-;-!;a@b|a@b;" },
};

START_TEST(an_element_of_any_length)
{
    static char value[2 * ADDRESS_ELEMENT_MAX + 100];
    static struct address_list l;
    static struct seen s;
    const char *front = long_ones[_i].front, *behind = long_ones[_i].behind;

    memset(&s, 0, sizeof s);
    memset(value, 'x', sizeof value - 1);
    memcpy(value, front, strlen(front));
    memcpy(value + sizeof value - 1 - strlen(behind), behind, strlen(behind));
    address_list_start(&l);
    ck_assert_int_eq(address_list_feed(&l, span_of(value), note, &s), 0);
    ck_assert_int_eq(address_list_end(&l, note, &s), 0);
    ck_assert_str_eq(s.elements, long_ones[_i].elements);
    ck_assert_str_eq(s.text, value);
}
END_TEST

static int stop(void *ctx, const struct address_element *el)
{
    (void)ctx;
    (void)el;
    return 7;
}

START_TEST(what_the_function_returns_ends_the_call)
{
    static struct address_list l;

    address_list_start(&l);
    ck_assert_int_eq(address_list_feed(&l, SPAN_LIT("a@b,c@d"), stop, NULL), 7);
    address_list_start(&l);
    ck_assert_int_eq(address_list_feed(&l, SPAN_LIT("a@b"), stop, NULL), 0);
    ck_assert_int_eq(address_list_end(&l, stop, NULL), 7);
}
END_TEST

Suite *mail_address_list_suite(void);
Suite *mail_address_list_suite(void)
{
    Suite *s = suite_create("mail.address_list");
    TCase *t = tcase_create("list");

    tcase_add_loop_test(t, elements, 0, sizeof cases / sizeof cases[0]);
    tcase_add_loop_test(t, an_element_of_any_length, 0,
                        sizeof long_ones / sizeof long_ones[0]);
    tcase_add_test(t, what_the_function_returns_ends_the_call);
    suite_add_tcase(s, t);
    return s;
}
