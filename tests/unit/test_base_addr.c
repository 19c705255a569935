/* test_base_addr.c - addresses and networks, both families. */
#include "base/addr.h"
#include "base/host_port.h"
#include "base/network.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

/* clang-format off */
static const struct {
    const char *text, *want; /* want NULL: refused; else as addr_port_text */
} parsed[] = {
    { "192.0.2.1",              "192.0.2.1:25" },
    { "192.0.2.1:2525",         "192.0.2.1:2525" },
    { "192.0.2.1:65535",        "192.0.2.1:65535" },
    { "[192.0.2.1]:26",         "192.0.2.1:26" },
    { "::1",                    "[::1]:25" },
    { "[::1]",                  "[::1]:25" },
    { "[::1]:2525",             "[::1]:2525" },
    { "[::]:25",                "[::]:25" },
    { "2001:db8::25",           "[2001:db8::25]:25" },
    { "2001:DB8:0:0:0:0:0:1",   "[2001:db8::1]:25" },
    { "::ffff:192.0.2.1",       "192.0.2.1:25" },
    { "[::ffff:192.0.2.1]:99",  "192.0.2.1:99" },
    { "",                       NULL },
    { "25",                     NULL },
    { ":25",                    NULL },
    { "192.0.2.1:",             NULL },
    { "192.0.2.1:0",            NULL },
    { "192.0.2.1:65536",        NULL },
    { "192.0.2.1:+25",          NULL },
    { "192.0.2.1: 25",          NULL },
    { "192.0.2.1:25:26",        NULL },
    { "192.0.2.256",            NULL },
    { "192.0.2",                NULL },
    { "192.0.2.01",             NULL },
    { " 192.0.2.1",             NULL },
    { "[::1",                   NULL },
    { "[::1]25",                NULL },
    { "[::1]:",                 NULL },
    { "[]",                     NULL },
    { "[",                      NULL },
    { "::1]:25",                NULL },
    { "1:2:3:4:5:6:7:8:9",      NULL },
    { "localhost",              NULL },
    { "localhost:25",           NULL },
};

static const struct {
    const char *text, *want; /* want NULL: refused; else its one form */
    bool bracketed, numeric;
} hosts[] = {
    { "host",               "host",              false, false },
    { "Host.Example.",      "host.example",      false, false },
    { "host:25",            "host:25",           false, false },
    { "[host]",             "[host]",            true,  false },
    { "[Host]:587",         "[host]:587",        true,  false },
    { "[localhost]:1025",   "[localhost]:1025",  true,  false },
    { "b\303\274cher:25",   "xn--bcher-kva:25",  false, false },
    { "192.0.2.1",          "192.0.2.1",         false, true },
    { "[192.0.2.1]",        "192.0.2.1",         false, true },
    { "192.0.2.1:25",       "192.0.2.1:25",      false, true },
    { "[IPv6:2001:DB8::1]", "[2001:db8::1]",     false, true },
    { "2001:db8::1",        "[2001:db8::1]",     false, true },
    { "[::1]:65535",        "[::1]:65535",       false, true },
    { "a-b.c_d.e1",         "a-b.c_d.e1",        false, false },
    { "",                   NULL,                false, false },
    { "host:",              NULL,                false, false },
    { "host:0",             NULL,                false, false },
    { "host:99999",         NULL,                false, false },
    { "host:25:26",         NULL,                false, false },
    { "host:submission",    NULL,                false, false },
    { "[host",              NULL,                false, false },
    { "[host]25",           NULL,                false, false },
    { "[]",                 NULL,                false, false },
    { "[]:25",              NULL,                false, false },
    { "a b",                NULL,                false, false },
    { "a..b",               NULL,                false, false },
    { "-a",                 NULL,                false, false },
    { "192.0.2.256",        NULL,                false, false },
    { "IPv6:::1",           NULL,                false, false },
    { "host/25",            NULL,                false, false },
    { "\"host\"",           NULL,                false, false },
};

static const struct {
    const char *net, *address;
    bool has;
} networks[] = {
    { "10.0.0.0/8",         "10.255.1.2",      true },
    { "10.0.0.0/8",         "11.0.0.0",        false },
    { "0.0.0.0/0",          "203.0.113.9",     true },
    { "0.0.0.0/0",          "::1",             false },
    { "::/0",               "2001:db8::1",     true },
    { "::/0",               "192.0.2.1",       false },
    { "192.0.2.128/25",     "192.0.2.128",     true },
    { "192.0.2.128/25",     "192.0.2.127",     false },
    { "192.0.2.4/30",       "192.0.2.7",       true },
    { "192.0.2.4/30",       "192.0.2.8",       false },
    { "192.0.2.4/32",       "192.0.2.4",       true },
    { "192.0.2.4/32",       "192.0.2.5",       false },
    { "192.0.2.4",          "192.0.2.4",       true },
    { "192.0.2.4",          "192.0.2.5",       false },
    { "127.0.0.0/8",        "::ffff:127.1.2.3", true },
    { "::1/128",            "::1",             true },
    { "::1/128",            "::2",             false },
    { "::1",                "::1",             true },
    { "2001:db8::/32",      "2001:db8:ffff::1", true },
    { "2001:db8::/32",      "2001:db9::1",     false },
    { "2001:db8:8000::/33", "2001:db8:8000::1", true },
    { "2001:db8:8000::/33", "2001:db8:7fff::1", false },
    { "fe80::/10",          "febf::1",         true },
    { "fe80::/10",          "fec0::1",         false },
};

static const char *const bad_networks[] = {
    "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x",
    "10.0.0.1/8", "192.0.2.5/30", "::1/129", "::1/127", "2001:db9::/31",
    "example.com", "10.0.0.0/8/8", "10.0.0.0:25", "[::1]/128",
};

static const struct {
    const char *address, *text, *literal, *reverse;
    bool v6, loopback;
} forms[] = {
    { "192.0.2.1", "192.0.2.1", "[192.0.2.1]", "1.2.0.192.in-addr.arpa",
      false, false },
    { "127.9.8.7", "127.9.8.7", "[127.9.8.7]", "7.8.9.127.in-addr.arpa",
      false, true },
    { "::ffff:127.0.0.1", "127.0.0.1", "[127.0.0.1]",
      "1.0.0.127.in-addr.arpa", false, true },
    { "::1", "::1", "[IPv6:::1]",
      "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
      "ip6.arpa", true, true },
    { "2001:db8::567:89ab", "2001:db8::567:89ab", "[IPv6:2001:db8::567:89ab]",
      "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
      "ip6.arpa", true, false },
    { "1234:1234:1234:1234:1234:1234:1234:1234",
      "1234:1234:1234:1234:1234:1234:1234:1234",
      "[IPv6:1234:1234:1234:1234:1234:1234:1234:1234]",
      "4.3.2.1.4.3.2.1.4.3.2.1.4.3.2.1.4.3.2.1.4.3.2.1.4.3.2.1.4.3.2.1."
      "ip6.arpa", true, false },
};

static const struct {
    const char *a, *b;
    bool same_host, same;
} pairs[] = {
    { "192.0.2.1:25", "192.0.2.1:25",          true,  true },
    { "192.0.2.1:25", "192.0.2.1:26",          true,  false },
    { "192.0.2.1:25", "[::ffff:192.0.2.1]:25", true,  true },
    { "192.0.2.1:25", "192.0.2.2:25",          false, false },
    { "[::1]:25",     "[::1]:25",              true,  true },
    { "[::1]:25",     "[::1]:26",              true,  false },
    { "[::1]:25",     "127.0.0.1:25",          false, false },
    { "[::]:25",      "0.0.0.0:25",            false, false },
};
/* clang-format on */

START_TEST(parse)
{
    struct addr a;
    struct err e = { .kind = ERR_NONE };
    char text[ADDR_PORT_TEXT];
    const char *in = parsed[_i].text;
    int rc = addr_parse(&a, span_of(in), 25, &e);

    ck_assert_msg((rc == 0) == (parsed[_i].want != NULL), "'%s': rc %d", in,
                  rc);
    if (rc != 0) {
        ck_assert_msg(e.kind == ERR_USAGE && strstr(e.text, in) != NULL,
                      "'%s': error '%s'", in, e.text);
        return;
    }
    addr_port_text(text, &a);
    ck_assert_msg(strcmp(text, parsed[_i].want) == 0, "'%s': got %s", in, text);
}
END_TEST

START_TEST(host_and_port)
{
    struct host_port h;
    struct err e = { .kind = ERR_NONE };
    char text[HOST_PORT_TEXT];
    const char *in = hosts[_i].text, *want = hosts[_i].want;
    int rc = host_port_parse(&h, span_of(in), &e);

    ck_assert_msg((rc == 0) == (want != NULL), "'%s': rc %d", in, rc);
    if (rc != 0) {
        ck_assert_msg(e.kind == ERR_USAGE && strstr(e.text, in) != NULL,
                      "'%s': error '%s'", in, e.text);
        return;
    }
    host_port_text(text, &h);
    ck_assert_msg(strcmp(text, want) == 0, "'%s': got %s", in, text);
    ck_assert_msg(h.bracketed == hosts[_i].bracketed &&
                      h.numeric == hosts[_i].numeric,
                  "'%s': kind", in);
    ck_assert(!h.numeric || addr_port(&h.addr) == h.port);
}
END_TEST

static struct addr get(const char *text)
{
    struct addr a;
    struct err e;

    ck_assert_msg(addr_parse(&a, span_of(text), 25, &e) == 0, "%s", text);
    return a;
}

START_TEST(network_has)
{
    struct net_cidr c;
    struct err e = { .text = "" };
    struct addr a = get(networks[_i].address);

    ck_assert_msg(net_cidr_parse(&c, span_of(networks[_i].net), &e) == 0,
                  "%s: %s", networks[_i].net, e.text);
    ck_assert_msg(net_cidr_has(&c, &a) == networks[_i].has, "%s in %s",
                  networks[_i].address, networks[_i].net);
}
END_TEST

START_TEST(network_refused)
{
    struct net_cidr c;
    struct err e = { .kind = ERR_NONE };

    ck_assert_msg(net_cidr_parse(&c, span_of(bad_networks[_i]), &e) != 0,
                  "'%s'", bad_networks[_i]);
    ck_assert_msg(e.kind == ERR_USAGE, "'%s'", bad_networks[_i]);
}
END_TEST

START_TEST(write_forms)
{
    struct addr a = get(forms[_i].address), back;
    char text[ADDR_TEXT], literal[ADDR_PORT_TEXT], reverse[80];
    const char *name = forms[_i].address;

    addr_text(text, &a);
    addr_literal(literal, &a);
    addr_reverse_name(reverse, sizeof reverse, &a);
    ck_assert_msg(strcmp(text, forms[_i].text) == 0, "%s: %s", name, text);
    ck_assert_msg(strcmp(literal, forms[_i].literal) == 0, "%s: %s", name,
                  literal);
    ck_assert_msg(strcmp(reverse, forms[_i].reverse) == 0, "%s: %s", name,
                  reverse);
    ck_assert_msg(addr_is_v6(&a) == forms[_i].v6, "%s: family", name);
    ck_assert_msg(addr_is_loopback(&a) == forms[_i].loopback, "%s: loopback",
                  name);
    ck_assert(addr_parse_ip(&back, span_of(text), 25));
    ck_assert_msg(addr_eq(&a, &back), "%s: not the same again", name);
}
END_TEST

START_TEST(any_address)
{
    static const struct {
        const char *text;
        bool any;
    } tries[] = { { "0.0.0.0", true },
                  { "::", true },
                  { "0.0.0.1", false },
                  { "::1", false },
                  { "127.0.0.1", false } };

    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct addr a = get(tries[i].text);
        ck_assert_msg(addr_is_any(&a) == tries[i].any, "%s", tries[i].text);
    }
}
END_TEST

START_TEST(compare)
{
    struct addr a = get(pairs[_i].a), b = get(pairs[_i].b);
    const char *name = pairs[_i].a;

    ck_assert_msg(addr_same_host(&a, &b) == pairs[_i].same_host, "%s host",
                  name);
    ck_assert_msg(addr_eq(&a, &b) == pairs[_i].same, "%s", name);
    if (pairs[_i].same_host)
        ck_assert_msg(addr_hash_net(&a) == addr_hash_net(&b),
                      "%s hash of the network", name);
    ck_assert_msg((addr_hash(&a) == addr_hash(&b)) == pairs[_i].same, "%s hash",
                  name);
}
END_TEST

/* A dual-stack listener reports IPv4 clients as mapped addresses. */
START_TEST(from_sockaddr)
{
    struct addr mapped = { .u.in6 = { .sin6_family = AF_INET6,
                                      .sin6_port = htons(99) } };
    struct addr a, want = get("192.0.2.7:99");

    memcpy(&mapped.u.in6.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\7",
           16);
    addr_from_sockaddr(&a, &mapped.u.sa);
    ck_assert(addr_eq(&a, &want));
    ck_assert_uint_eq(addr_len(&a), sizeof(struct sockaddr_in));
    want = get("[2001:db8::1]:7");
    addr_from_sockaddr(&a, &want.u.sa);
    ck_assert(addr_eq(&a, &want));
    ck_assert_uint_eq(addr_len(&a), sizeof(struct sockaddr_in6));
}
END_TEST

/* fe80::1 on two links is two hosts. */
START_TEST(scope_tells_hosts_apart)
{
    struct addr one = get("[fe80::1]:25"), two = one;

    two.u.in6.sin6_scope_id = 2;
    ck_assert(!addr_same_host(&one, &two));
    addr_from_sockaddr(&one, &two.u.sa);
    ck_assert(addr_same_host(&one, &two));
}
END_TEST

START_TEST(path_that_is_too_long)
{
    char path[200];
    struct addr a;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    addr_from_path(&a, path);
    errno = 0;
    ck_assert_int_eq(addr_connect(fd, &a), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);
    errno = 0;
    ck_assert_int_eq(addr_bind(fd, &a), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);
    close(fd);
}
END_TEST

/* The paths of sockets do not count, only users. */
START_TEST(clients_of_sockets)
{
    struct addr a, b, c;
    char text[ADDR_TEXT];

    addr_from_uid(&a, 1000, "submit");
    addr_from_uid(&b, 1000, "other");
    addr_from_uid(&c, 1001, "submit");
    ck_assert(addr_hash_net(&a) == addr_hash_net(&b));
    ck_assert(addr_hash_net(&a) != addr_hash_net(&c));
    ck_assert(addr_is_unix(&a) && !addr_is_v6(&a) && addr_port(&a) == 0);
    addr_text(text, &a);
    ck_assert_str_eq(text, "unix:submit");
    addr_from_uid(&a, 0, "a-name-longer-than-an-address-of-IPv6-as-a-text");
    addr_text(text, &a);
    ck_assert_str_eq(text, "unix:a-name-longer-than-an-address-of-IPv6-as");
}
END_TEST

Suite *base_addr_suite(void);
Suite *base_addr_suite(void)
{
    Suite *s = suite_create("net.addr");
    TCase *t = tcase_create("addr");
    tcase_add_loop_test(t, parse, 0, N(parsed));
    tcase_add_loop_test(t, host_and_port, 0, (int)N(hosts));
    tcase_add_loop_test(t, network_has, 0, N(networks));
    tcase_add_loop_test(t, network_refused, 0, N(bad_networks));
    tcase_add_loop_test(t, write_forms, 0, N(forms));
    tcase_add_test(t, any_address);
    tcase_add_loop_test(t, compare, 0, N(pairs));
    tcase_add_test(t, from_sockaddr);
    tcase_add_test(t, scope_tells_hosts_apart);
    tcase_add_test(t, path_that_is_too_long);
    tcase_add_test(t, clients_of_sockets);
    suite_add_tcase(s, t);
    return s;
}
