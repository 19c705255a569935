/* test_dns_fcrdns.c - names of many clients at the same time. */
#include "base/clock.h"
#include "base/host_port.h"
#include "dns/fcrdns.h"
#include "dns_fake.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum {
    PER_ZONE = 8,
    MANY = 300,
    DEADLINE_MS = 30000,
    DEAD_MS = 3000 /* for all to ask first, under valgrind, too */
};

static struct loop *loop;
static struct dns *dns;
static struct fake fake;

static struct client {
    struct fcrdns_query *query; /* NULL: answered or cancelled */
    enum fcrdns_status status;
    bool answered;
} client[MANY];
static unsigned answered;

static void on_name(void *ctx, enum fcrdns_status status, const char *name)
{
    struct client *c = ctx;

    ck_assert_ptr_nonnull(name);
    c->query = NULL;
    c->status = status;
    c->answered = true;
    answered++;
}

static void set_up(void)
{
    memset(client, 0, sizeof client);
    answered = 0;
    ck_assert_int_eq(loop_new(&loop, NULL, NULL), 0);
}

static void tear_down(void)
{
    for (unsigned i = 0; i < MANY; i++)
        fcrdns_cancel(client[i].query);
    dns_close(&dns);
    fake_stop(&fake);
    loop_free(&loop);
}

static void open_dns(const char *script, unsigned timeout_ms)
{
    struct dns_options o = { .nservers = 1,
                             .timeout_ms = timeout_ms,
                             .tries = 1 };
    struct addr server;

    fake_start(&fake, loop, "127.0.0.1", script, NULL);
    ck_assert_int_eq(addr_parse(&server, span_of(fake.text), 53, NULL), 0);
    o.servers = &server;
    ck_assert_int_eq(dns_open(&dns, loop, &o, NULL), 0);
}

/* "*" in the zone stands for the number of the host. */
static void ask(unsigned i, const char *zone, unsigned host)
{
    char text[64];
    struct addr a;
    struct err e;
    int before = (int)strcspn(zone, "*");

    snprintf(text, sizeof text, "%.*s%u%s", before, zone, host,
             zone + before + 1);
    ck_assert_msg(addr_parse_ip(&a, span_of(text), 0), "%s", text);
    client[i].query = fcrdns_ask(dns, &a, on_name, &client[i], &e);
    ck_assert_ptr_nonnull(client[i].query);
}

static void turn_until(const unsigned *counter, unsigned want)
{
    uint64_t end = clock_mono_ms() + DEADLINE_MS;

    while (*counter < want) {
        ck_assert_int_ge(loop_turn(loop, 100, NULL), 0);
        ck_assert_msg(clock_mono_ms() < end, "%u of %u", *counter, want);
    }
}

/* Clients of one zone, and one of another. */
static const struct {
    const char *name, *zone, *other;
} zones[] = {
    { "IPv4 /24", "198.51.100.*", "198.51.101.*" },
    { "IPv6 /48", "2001:db8:1:*::1", "2001:db8:2:*::1" },
    { "both families", "198.51.100.*", "2001:db8:2:*::1" },
};

/* 250 clients whose zone is dead: its servers answer nothing. */
START_TEST(dead_zone_holds_up_no_other)
{
    enum { CROWD = 250 };

    open_dns("........n", DEAD_MS);
    for (unsigned i = 0; i < CROWD; i++)
        ask(i, zones[_i].zone, i + 1);
    turn_until(&fake.asked, PER_ZONE);
    ask(CROWD, zones[_i].other, 1);
    turn_until(&answered, 1);
    ck_assert_msg(client[CROWD].answered, "%s: the other waits",
                  zones[_i].name);
    ck_assert_int_eq(client[CROWD].status, FCRDNS_NO_PTR);
    ck_assert_uint_eq(fake.asked, PER_ZONE + 1);
    turn_until(&answered, CROWD + 1);
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert_int_eq(client[i].status, FCRDNS_TEMP);
    ck_assert_uint_eq(fake.asked, PER_ZONE + 1); /* the zone is spared */
}
END_TEST

/* In a zone that answers, each client gets its own answer. */
START_TEST(live_zone_serves_all)
{
    open_dns("n", DEADLINE_MS);
    for (unsigned i = 0; i < 100; i++)
        ask(i, zones[_i].zone, i + 1);
    turn_until(&answered, 100);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(client[i].status, FCRDNS_NO_PTR);
    ck_assert_uint_eq(fake.asked, 100);
}
END_TEST

/* A place that is given up goes to the next that waits. */
START_TEST(clients_that_leave_make_room)
{
    open_dns("........n", DEADLINE_MS);
    for (unsigned i = 0; i < 20; i++)
        ask(i, "198.51.100.*", i + 1);
    turn_until(&fake.asked, PER_ZONE);
    fcrdns_cancel(client[12].query); /* one that waits */
    client[12].query = NULL;
    fcrdns_cancel(client[0].query); /* one that is asked for */
    client[0].query = NULL;
    turn_until(&answered, 11);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(client[i].answered, i >= PER_ZONE && i != 12);
    ck_assert_uint_eq(fake.asked, PER_ZONE + 11);
}
END_TEST

Suite *dns_fcrdns_suite(void);
Suite *dns_fcrdns_suite(void)
{
    Suite *s = suite_create("dns_fcrdns");
    TCase *t = tcase_create("zones");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, dead_zone_holds_up_no_other, 0, 3);
    tcase_add_loop_test(t, live_zone_serves_all, 0, 3);
    tcase_add_test(t, clients_that_leave_make_room);
    suite_add_tcase(s, t);
    return s;
}
