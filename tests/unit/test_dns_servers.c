/* test_dns_servers.c - which servers there are, and whose turn it is. */
#include "dns/servers.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *file, *want; /* addresses, a blank after each */
} files[] = {
    { "one", "nameserver 192.0.2.1\n", "192.0.2.1:53 " },
    { "two kinds", "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
      "192.0.2.1:53 [2001:db8::1]:53 " },
    { "blanks and no line end", "nameserver \t 192.0.2.1 # comment",
      "192.0.2.1:53 " },
    { "CRLF", "nameserver 192.0.2.1\r\n", "192.0.2.1:53 " },
    { "other lines",
      "# nameserver 192.0.2.9\n; nameserver 192.0.2.9\nsearch a.test\n"
      "options ndots:5\nnameservers 192.0.2.9\nnameserver192.0.2.9\n",
      "" },
    { "no address", "nameserver ns.test\nnameserver\nnameserver \n", "" },
    { "too many",
      "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"
      "nameserver 192.0.2.4\nnameserver 192.0.2.5\nnameserver 192.0.2.6\n"
      "nameserver 192.0.2.7\nnameserver 192.0.2.8\nnameserver 192.0.2.9\n",
      "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53 192.0.2.4:53 192.0.2.5:53 "
      "192.0.2.6:53 192.0.2.7:53 192.0.2.8:53 " },
    { "empty", "", "" },
};

START_TEST(file_is_read)
{
    char path[] = "/tmp/test-dns-XXXXXX", got[1024] = "", text[ADDR_PORT_TEXT];
    struct dns_servers s = { .n = 0 };
    size_t n = strlen(files[_i].file), at = 0;
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, files[_i].file, n), (int)n);
    close(fd);
    ck_assert_int_eq(dns_servers_read(&s, path, NULL), 0);
    unlink(path);
    for (size_t i = 0; i < s.n; i++) {
        addr_port_text(text, &s.s[i].addr);
        at += (size_t)snprintf(got + at, sizeof got - at, "%s ", text);
    }
    ck_assert_msg(strcmp(got, files[_i].want) == 0, "%s: %s", files[_i].name,
                  got);
}
END_TEST

START_TEST(missing_file_is_an_error)
{
    struct dns_servers s = { .n = 0 };
    struct err e;

    ck_assert_int_eq(dns_servers_read(&s, "/nonexistent/file", &e), -1);
    ck_assert_uint_eq(s.n, 0);
}
END_TEST

START_TEST(servers_are_given)
{
    struct dns_servers s;
    struct addr many[DNS_SERVERS_MAX + 1];

    for (size_t i = 0; i < DNS_SERVERS_MAX + 1; i++)
        ck_assert(
            addr_parse_ip(&many[i], span_of("192.0.2.1"), (uint16_t)(53 + i)));
    ck_assert_int_eq(dns_servers_set(&s, many, 2, NULL), 0);
    ck_assert_uint_eq(s.n, 2);
    ck_assert(addr_eq(&s.s[1].addr, &many[1]));
    ck_assert_int_eq(dns_servers_set(&s, many, DNS_SERVERS_MAX + 1, NULL), 0);
    ck_assert_uint_eq(s.n, DNS_SERVERS_MAX);
}
END_TEST

START_TEST(system_has_at_least_one)
{
    struct dns_servers s;

    ck_assert_int_eq(dns_servers_set(&s, NULL, 0, NULL), 0);
    ck_assert_uint_ge(s.n, 1);
}
END_TEST

/* Three servers; it is 1000 now. */
static const struct {
    const char *name;
    uint64_t last_until[3];
    unsigned spent, tried;
    size_t want;
} turns[] = {
    { "the first", { 0, 0, 0 }, 0, 0, 0 },
    { "the next", { 0, 0, 0 }, 0, 1, 1 },
    { "a new round", { 0, 0, 0 }, 0, 7, 0 },
    { "the first failed", { 2000, 0, 0 }, 0, 0, 1 },
    { "it failed long ago", { 1000, 0, 0 }, 0, 0, 0 },
    { "failed ones come last", { 2000, 0, 0 }, 0, 6, 0 },
    { "all failed", { 2000, 3000, 2000 }, 0, 0, 0 },
    { "new round, first failed", { 2000, 0, 0 }, 0, 7, 1 },
    { "one is spent", { 0, 0, 0 }, 1, 1, 1 },
    { "the rest is tried", { 0, 0, 0 }, 1, 7, 1 },
    { "only a failed one is left", { 0, 0, 2000 }, 3, 7, 2 },
    { "all are spent", { 0, 0, 0 }, 7, 7, 3 },
};

START_TEST(turns_are_taken)
{
    struct dns_servers s = { .n = 3 };

    for (size_t i = 0; i < 3; i++)
        s.s[i].last_until = turns[_i].last_until[i];
    size_t got = dns_servers_pick(&s, turns[_i].spent, turns[_i].tried, 1000);
    ck_assert_msg(got == turns[_i].want, "%s: %zu", turns[_i].name, got);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

Suite *dns_servers_suite(void);
Suite *dns_servers_suite(void)
{
    Suite *s = suite_create("dns_servers");
    TCase *t = tcase_create("servers");

    tcase_add_loop_test(t, file_is_read, 0, COUNT(files));
    tcase_add_test(t, missing_file_is_an_error);
    tcase_add_test(t, servers_are_given);
    tcase_add_test(t, system_has_at_least_one);
    tcase_add_loop_test(t, turns_are_taken, 0, COUNT(turns));
    suite_add_tcase(s, t);
    return s;
}
