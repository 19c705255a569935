/* test_send_learned.c - limits of hosts: what is kept, and for how long. */
#include "send/learned.h"

#include <check.h>
#include <stdio.h>

static struct learned l;

static void open_learned(void)
{
    ck_assert_int_eq(learned_init(&l), 0);
}

static void close_learned(void)
{
    learned_done(&l);
}

static struct addr host(unsigned n)
{
    struct addr a;
    char text[32];

    snprintf(text, sizeof text, "10.%u.%u.%u", n >> 16, n >> 8 & 255, n & 255);
    ck_assert(addr_parse_ip(&a, span_of(text), 25));
    return a;
}

static unsigned messages_of(unsigned n, uint32_t now)
{
    struct addr a = host(n);

    return learned_get(&l, &a, now).messages;
}

static void put(unsigned n, unsigned messages, uint32_t now)
{
    struct addr a = host(n);
    struct send_limits x = { .messages = messages };

    learned_put(&l, &a, &x, now);
}

START_TEST(a_limit_is_kept_by_host)
{
    put(1, 100, 10);
    put(2, 10, 10);
    ck_assert_uint_eq(messages_of(1, 20), 100);
    ck_assert_uint_eq(messages_of(2, 20), 10);
    ck_assert_uint_eq(messages_of(3, 20), 0);
}
END_TEST

static bool is_clear(unsigned n, uint32_t now)
{
    struct addr a = host(n);

    return learned_get(&l, &a, now).no_tls;
}

/* Longer for no other lesson, and for no session that returns it. */
START_TEST(tls_that_failed_is_forgotten_after_an_hour)
{
    struct addr a = host(1);
    struct send_limits x = { .no_tls = true };

    learned_put(&l, &a, &x, 10);
    ck_assert(is_clear(1, 9 + LIMITS_CLEAR_SECONDS));
    x = learned_get(&l, &a, 9 + LIMITS_CLEAR_SECONDS);
    x.messages = 5;
    learned_put(&l, &a, &x, 9 + LIMITS_CLEAR_SECONDS);
    ck_assert(!is_clear(1, 10 + LIMITS_CLEAR_SECONDS));
    ck_assert_uint_eq(messages_of(1, 10 + LIMITS_CLEAR_SECONDS), 5);
    ck_assert(!is_clear(2, 10));
}
END_TEST

/* A session returns what it was given: that is nothing new. */
START_TEST(a_limit_is_forgotten_after_a_day)
{
    put(1, 100, 10);
    put(1, 100, 10 + LEARNED_SECONDS / 2);
    ck_assert_uint_eq(messages_of(1, 9 + LEARNED_SECONDS), 100);
    ck_assert_uint_eq(messages_of(1, 10 + LEARNED_SECONDS), 0);
    ck_assert_uint_eq(l.n, 0);
}
END_TEST

START_TEST(a_new_limit_has_a_new_day)
{
    put(1, 100, 10);
    put(1, 50, 1000);
    ck_assert_uint_eq(messages_of(1, 999 + LEARNED_SECONDS), 50);
}
END_TEST

START_TEST(nothing_takes_no_room)
{
    put(1, 0, 10);
    ck_assert_uint_eq(l.n, 0);
    put(1, 5, 10);
    put(1, 0, 10);
    ck_assert_uint_eq(l.n, 0);
}
END_TEST

START_TEST(the_least_used_host_makes_room)
{
    for (unsigned i = 0; i < LEARNED_HOSTS_MAX; i++)
        put(i, i + 1, 10);
    ck_assert_uint_eq(messages_of(0, 10), 1); /* used */
    put(LEARNED_HOSTS_MAX, 7, 10);
    ck_assert_uint_eq(l.n, LEARNED_HOSTS_MAX);
    ck_assert_uint_eq(messages_of(0, 10), 1);
    ck_assert_uint_eq(messages_of(1, 10), 0);
    ck_assert_uint_eq(messages_of(2, 10), 3);
}
END_TEST

Suite *send_learned_suite(void);
Suite *send_learned_suite(void)
{
    Suite *s = suite_create("send.learned");
    TCase *t = tcase_create("limits");

    tcase_add_checked_fixture(t, open_learned, close_learned);
    tcase_add_test(t, a_limit_is_kept_by_host);
    tcase_add_test(t, tls_that_failed_is_forgotten_after_an_hour);
    tcase_add_test(t, a_limit_is_forgotten_after_a_day);
    tcase_add_test(t, a_new_limit_has_a_new_day);
    tcase_add_test(t, nothing_takes_no_room);
    tcase_add_test(t, the_least_used_host_makes_room);
    suite_add_tcase(s, t);
    return s;
}
