/* test_serve_clients.c - what all workers together have of clients. */
#include "serve/clients.h"

#include <check.h>
#include <string.h>

enum { ROWS = 3 };

static struct clients *open_table(void)
{
    struct clients *c = NULL;
    struct err e;

    ck_assert_int_eq(clients_new(&c, ROWS, &e), 0);
    for (unsigned r = 0; r < ROWS; r++)
        clients_open_row(c, r);
    return c;
}

static struct addr address(const char *text)
{
    struct addr a;

    ck_assert_msg(addr_parse_ip(&a, span_of(text), 25), "%s", text);
    return a;
}

/* The second is a client; how many does the first count? */
static const struct {
    const char *asked, *client;
    unsigned count;
} pairs[] = {
    { "192.0.2.1", "192.0.2.1", 1 },
    { "192.0.2.1", "192.0.2.2", 0 },
    { "192.0.2.1", "::ffff:192.0.2.1", 1 },
    { "2001:db8::1", "2001:db8::1", 1 },
    { "2001:db8::1", "2001:db8::2", 1 },
    { "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", 1 },
    { "2001:db8:0:1::1", "2001:db8::1", 0 },
    { "2001:db8:0:1::1", "2001:db8:0:1:8000::", 1 },
    { "2001:db8::1", "2001:db9::1", 0 },
};

START_TEST(addresses)
{
    struct clients *c = open_table();
    struct addr a = address(pairs[_i].asked), b = address(pairs[_i].client);

    clients_add(c, 1, &b);
    bool shared = (addr_hash_net(&a) ^ addr_hash_net(&b)) % 4096 == 0;
    if (pairs[_i].count > 0 || !shared) /* two may share a count by chance */
        ck_assert_msg(clients_of(c, &a) == pairs[_i].count, "%s of %s: %u",
                      pairs[_i].asked, pairs[_i].client, clients_of(c, &a));
    clients_remove(c, 1, &b);
    ck_assert_uint_eq(clients_of(c, &a), 0);
    clients_free(&c);
}
END_TEST

START_TEST(over_all_workers)
{
    struct clients *c = open_table();
    struct addr a = address("192.0.2.1");

    clients_add(c, 0, &a);
    clients_add(c, 2, &a);
    clients_add(c, 2, &a);
    ck_assert_uint_eq(clients_of(c, &a), 3);
    clients_clear_row(c, 2); /* that worker died */
    ck_assert_uint_eq(clients_of(c, &a), 1);
    clients_free(&c);
}
END_TEST

START_TEST(room)
{
    struct clients *c = open_table();
    struct addr a = address("192.0.2.1");

    for (unsigned r = 0; r < ROWS; r++)
        clients_add(c, r, &a);
    ck_assert(clients_room(c, 2));
    ck_assert(!clients_room(c, 1));
    clients_remove(c, 1, &a);
    ck_assert(clients_room(c, 1));
    clients_retire_row(c, 1); /* it takes no new clients */
    ck_assert(!clients_room(c, 1));
    clients_free(&c);
}
END_TEST

START_TEST(memory)
{
    struct clients *c = open_table();

    ck_assert(clients_take_memory(c, 0, 60, 100));
    ck_assert(!clients_take_memory(c, 1, 41, 100));
    ck_assert(clients_take_memory(c, 1, 40, 100));
    ck_assert(!clients_take_memory(c, 0, 1, 100));
    clients_give_memory(c, 0, 20);
    ck_assert(clients_take_memory(c, 2, 20, 100));
    clients_clear_row(c, 1); /* that worker died: its memory is free */
    ck_assert(clients_take_memory(c, 0, 40, 100));
    ck_assert(!clients_take_memory(c, 2, 1, 10)); /* after a reload: less */
    ck_assert(!clients_take_memory(c, 2, 200, 100));
    clients_free(&c);
}
END_TEST

Suite *serve_clients_suite(void);
Suite *serve_clients_suite(void)
{
    Suite *s = suite_create("serve.clients");
    TCase *t = tcase_create("clients");

    tcase_add_loop_test(t, addresses, 0, sizeof pairs / sizeof pairs[0]);
    tcase_add_test(t, over_all_workers);
    tcase_add_test(t, room);
    tcase_add_test(t, memory);
    suite_add_tcase(s, t);
    return s;
}
