/* test_serve_tickets.c - keys of session tickets: made, renewed, sent to a
 * worker. */
#include "serve/tickets.h"

#include <check.h>
#include <string.h>

static struct serve_tickets made, got;

START_TEST(keys_differ)
{
    serve_tickets_make(&made, 1000);
    for (int i = 1; i < TLS_TICKET_KEYS; i++)
        ck_assert(memcmp(made.keys, made.keys + i * TLS_TICKET_KEY,
                         TLS_TICKET_KEY) != 0);
    got = made;
    serve_tickets_make(&made, 1000);
    ck_assert(memcmp(made.keys, got.keys, sizeof got.keys) != 0);
}
END_TEST

/* A ticket is good for at least two periods after the last one made. */
START_TEST(the_oldest_goes)
{
    serve_tickets_make(&made, 1000);
    got = made;
    ck_assert(!serve_tickets_renew(&made, 1000 + SERVE_TICKETS_MS - 1));
    ck_assert_mem_eq(made.keys, got.keys, sizeof got.keys);
    ck_assert(serve_tickets_renew(&made, 1000 + SERVE_TICKETS_MS));
    ck_assert(memcmp(made.keys, got.keys, TLS_TICKET_KEY) != 0);
    ck_assert_mem_eq(made.keys + TLS_TICKET_KEY, got.keys,
                     sizeof got.keys - TLS_TICKET_KEY);
    ck_assert(!serve_tickets_renew(&made, 1000 + SERVE_TICKETS_MS));
    ck_assert(serve_tickets_renew(&made, 1000 + 3 * SERVE_TICKETS_MS));
    ck_assert_mem_eq(made.keys + 2 * TLS_TICKET_KEY, got.keys, TLS_TICKET_KEY);
}
END_TEST

START_TEST(sent_to_a_worker)
{
    char text[SERVE_TICKETS_TEXT];

    serve_tickets_make(&made, 1);
    serve_tickets_message(text, &made);
    ck_assert_uint_lt(strlen(text), sizeof text);
    memset(&got, 0, sizeof got);
    ck_assert(!serve_tickets_accept(&got, "drain"));
    ck_assert(serve_tickets_accept(&got, text));
    ck_assert_mem_eq(got.keys, made.keys, sizeof got.keys);
    text[strlen(text) - 1] = '\0';
    ck_assert(!serve_tickets_accept(&got, text));
}
END_TEST

START_TEST(forgotten)
{
    static const unsigned char none[sizeof made.keys];

    serve_tickets_make(&made, 1);
    serve_tickets_forget(&made);
    ck_assert_mem_eq(made.keys, none, sizeof none);
}
END_TEST

Suite *serve_tickets_suite(void);
Suite *serve_tickets_suite(void)
{
    Suite *s = suite_create("serve.tickets");
    TCase *t = tcase_create("tickets");

    tcase_add_test(t, keys_differ);
    tcase_add_test(t, the_oldest_goes);
    tcase_add_test(t, sent_to_a_worker);
    tcase_add_test(t, forgotten);
    suite_add_tcase(s, t);
    return s;
}
