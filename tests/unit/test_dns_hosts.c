/* test_dns_hosts.c - addresses of names in a hosts file. */
#include "dns/hosts.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *file, *ask, *want; /* addresses, a blank after each */
} files[] = {
    { "a name", "192.0.2.1 hub.test\n", "hub.test", "192.0.2.1 " },
    { "no such name", "192.0.2.1 hub.test\n", "ub.test", "" },
    { "its beginning", "192.0.2.1 hub.test.example\n", "hub.test", "" },
    { "an alias", "192.0.2.1 hub.test hub mail\n", "mail", "192.0.2.1 " },
    { "IPv6", "2001:db8::1\thub\n", "hub", "2001:db8::1 " },
    { "IPv4 in IPv6", "::ffff:192.0.2.1 hub\n", "hub", "192.0.2.1 " },
    { "both families", "2001:db8::1 hub\n192.0.2.1 hub\n", "hub",
      "2001:db8::1 192.0.2.1 " },
    { "several lines, one twice",
      "192.0.2.1 hub\n192.0.2.2 other hub\n192.0.2.1 a hub\n", "hub",
      "192.0.2.1 192.0.2.2 " },
    { "more than are wanted",
      "192.0.2.1 h\n192.0.2.2 h\n192.0.2.3 h\n192.0.2.4 h\n192.0.2.5 h\n", "h",
      "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 " },
    { "case", "192.0.2.1 Hub.TEST\n", "hub.test", "192.0.2.1 " },
    { "dot at the end", "192.0.2.1 hub.test.\n", "hub.test", "192.0.2.1 " },
    { "U-label", "192.0.2.1 b\303\274cher.test\n", "xn--bcher-kva.test",
      "192.0.2.1 " },
    { "A-label", "192.0.2.1 XN--bcher-kva.test\n", "xn--bcher-kva.test",
      "192.0.2.1 " },
    { "no U-label", "192.0.2.1 b\303cher.test hub\n", "hub", "192.0.2.1 " },
    { "comments", "# 192.0.2.9 hub\n192.0.2.1 other # hub\n192.0.2.2 hub# x\n",
      "hub", "192.0.2.2 " },
    { "blanks and CRLF", "  192.0.2.1 \t hub\t\r\n", "hub", "192.0.2.1 " },
    { "no line end", "192.0.2.1 hub", "hub", "192.0.2.1 " },
    { "an address alone", "192.0.2.1\n192.0.2.1 \n", "192.0.2.1", "" },
    { "no addresses",
      "hub 192.0.2.1\n192.0.2.256 hub\nfe80::1%eth0 hub\n\n\n#\n \n"
      "1 hub\n192.0.2.1hub\n",
      "hub", "" },
    { "empty", "", "hub", "" },
};

static void load(struct dns_hosts *h, const char *text, size_t n)
{
    char path[] = "/tmp/test-hosts-XXXXXX";
    int fd = mkstemp(path);
    struct err e;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, n), (int)n);
    close(fd);
    *h = (struct dns_hosts){ NULL, 0 };
    int rc = dns_hosts_load(h, path, &e);
    unlink(path);
    ck_assert_msg(rc == 0, "%s", e.text);
}

static void find(char got[256], const struct dns_hosts *h, const char *name)
{
    struct addr a[4];
    size_t n = dns_hosts_find(h, name, a, 4), at = 0;
    char text[ADDR_TEXT];

    got[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        addr_text(text, &a[i]);
        at += (size_t)snprintf(got + at, 256 - at, "%s ", text);
    }
}

START_TEST(addresses_are)
{
    struct dns_hosts h;
    char got[256];

    load(&h, files[_i].file, strlen(files[_i].file));
    find(got, &h, files[_i].ask);
    ck_assert_msg(strcmp(got, files[_i].want) == 0, "%s: %s", files[_i].name,
                  got);
    dns_hosts_free(&h);
}
END_TEST

/* A line that no buffer of ours would hold, then NULs, then a good one. */
START_TEST(lines_have_any_length)
{
    enum { LONG = 300000 };
    static const char end[] = " far\n\0\0\n192.0.2.2 hub\0x\n192.0.2.3 hub\n";
    char *text = malloc(LONG + sizeof end), got[256];
    struct dns_hosts h;

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', LONG);
    memcpy(text, "192.0.2.1 ", 10);
    memcpy(text + LONG, end, sizeof end);
    load(&h, text, LONG + sizeof end - 1);
    free(text);
    find(got, &h, "far");
    ck_assert_str_eq(got, "192.0.2.1 ");
    find(got, &h, "hub");
    ck_assert_str_eq(got, "192.0.2.3 ");
    dns_hosts_free(&h);
}
END_TEST

/* A file that is gone is empty; one that cannot be read changes nothing. */
START_TEST(files_come_and_go)
{
    struct dns_hosts h;
    char got[256];
    struct err e;

    load(&h, "192.0.2.1 hub\n", 14);
    ck_assert_int_eq(dns_hosts_load(&h, "/tmp", &e), -1);
    find(got, &h, "hub");
    ck_assert_str_eq(got, "192.0.2.1 ");
    ck_assert_int_eq(dns_hosts_load(&h, "/nonexistent/hosts", &e), 0);
    find(got, &h, "hub");
    ck_assert_str_eq(got, "");
    dns_hosts_free(&h);
}
END_TEST

Suite *dns_hosts_suite(void);
Suite *dns_hosts_suite(void)
{
    Suite *s = suite_create("dns_hosts");
    TCase *t = tcase_create("hosts");

    tcase_add_loop_test(t, addresses_are, 0, sizeof files / sizeof files[0]);
    tcase_add_test(t, lines_have_any_length);
    tcase_add_test(t, files_come_and_go);
    suite_add_tcase(s, t);
    return s;
}
