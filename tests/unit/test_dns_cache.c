/* test_dns_cache.c - what is kept, for how long, and what goes first. */
#include "dns/cache.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dns_found in, out;

static void make_hosts(size_t n, uint32_t ttl)
{
    memset(&in, 0, sizeof in);
    in.status = DNS_OK;
    in.ttl = ttl;
    in.n = n;
    for (size_t i = 0; i < n; i++) {
        in.rr[i].preference = (uint16_t)(i * 10);
        snprintf(in.rr[i].name, sizeof in.rr[i].name, "mx%zu.test", i);
    }
}

static struct dns_cache *cache_of(size_t max)
{
    struct dns_cache *c = NULL;

    ck_assert_int_eq(dns_cache_new(&c, max, NULL), 0);
    return c;
}

static const struct {
    const char *name;
    uint32_t ttl;
    uint64_t later; /* ms after it was put */
    bool there;
    uint32_t left;
} ages[] = {
    { "at once", 10, 0, true, 10 },
    { "a moment later", 10, 1, true, 10 },
    { "halfway", 10, 5000, true, 5 },
    { "last moment", 10, 9999, true, 1 },
    { "just over", 10, 10000, false, 0 },
    { "long over", 10, 1000000, false, 0 },
    { "TTL 0", 0, 0, false, 0 },
};

START_TEST(answers_age)
{
    struct dns_cache *c = cache_of(4);
    const uint64_t now = 1000000;

    make_hosts(2, ages[_i].ttl);
    dns_cache_put(c, "a.test", DNS_MX, now, &in);
    memset(&out, 0xff, sizeof out);
    bool there = dns_cache_get(c, "a.test", DNS_MX, now + ages[_i].later, &out);
    ck_assert_msg(there == ages[_i].there, "%s", ages[_i].name);
    if (there) {
        ck_assert_msg(out.ttl == ages[_i].left && out.rr[1].ttl == out.ttl,
                      "%s: TTL %u", ages[_i].name, (unsigned)out.ttl);
        ck_assert_str_eq(out.rr[1].name, "mx1.test");
        ck_assert_uint_eq(out.rr[1].preference, 10);
    } else {
        ck_assert_uint_eq(dns_cache_count(c), 0);
        ck_assert_uint_eq(dns_cache_bytes(c), 0);
    }
    dns_cache_free(&c);
}
END_TEST

START_TEST(addresses_come_back)
{
    static const struct {
        enum dns_type type;
        const char *text;
    } want[] = { { DNS_A, "192.0.2.1" }, { DNS_AAAA, "2001:db8::25" } };
    struct dns_cache *c = cache_of(4);
    char text[ADDR_TEXT];

    for (size_t i = 0; i < 2; i++) {
        make_hosts(1, 60);
        in.rr[0].name[0] = '\0';
        ck_assert(addr_parse_ip(&in.rr[0].addr, span_of(want[i].text), 0));
        dns_cache_put(c, "a.test", want[i].type, 0, &in);
    }
    for (size_t i = 0; i < 2; i++) {
        ck_assert(dns_cache_get(c, "a.test", want[i].type, 0, &out));
        addr_text(text, &out.rr[0].addr);
        ck_assert_str_eq(text, want[i].text);
    }
    ck_assert(!dns_cache_get(c, "a.test", DNS_MX, 0, NULL));
    ck_assert(!dns_cache_get(c, "b.test", DNS_A, 0, NULL));
    dns_cache_free(&c);
}
END_TEST

START_TEST(negative_answers_are_kept)
{
    struct dns_cache *c = cache_of(4);

    make_hosts(0, 60);
    in.status = DNS_NXDOMAIN;
    dns_cache_put(c, "no.test", DNS_A, 0, &in);
    ck_assert(dns_cache_get(c, "no.test", DNS_A, 1000, &out));
    ck_assert_int_eq(out.status, DNS_NXDOMAIN);
    ck_assert_uint_eq(out.n, 0);
    dns_cache_free(&c);
}
END_TEST

START_TEST(newer_answer_replaces)
{
    struct dns_cache *c = cache_of(4);

    make_hosts(1, 60);
    dns_cache_put(c, "a.test", DNS_MX, 0, &in);
    make_hosts(3, 60);
    dns_cache_put(c, "a.test", DNS_MX, 0, &in);
    ck_assert_uint_eq(dns_cache_count(c), 1);
    ck_assert(dns_cache_get(c, "a.test", DNS_MX, 0, &out));
    ck_assert_uint_eq(out.n, 3);
    make_hosts(1, 0);
    dns_cache_put(c, "a.test", DNS_MX, 0, &in);
    ck_assert(!dns_cache_get(c, "a.test", DNS_MX, 0, NULL));
    dns_cache_free(&c);
}
END_TEST

START_TEST(least_used_goes_first)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    struct dns_cache *c = cache_of(3);

    make_hosts(1, 60);
    for (size_t i = 0; i < 3; i++)
        dns_cache_put(c, names[i], DNS_MX, 0, &in);
    ck_assert(dns_cache_get(c, "a", DNS_MX, 0, NULL)); /* used just now */
    dns_cache_put(c, "d", DNS_MX, 0, &in);
    ck_assert_uint_eq(dns_cache_count(c), 3);
    for (size_t i = 0; i < 4; i++)
        ck_assert_msg(dns_cache_get(c, names[i], DNS_MX, 0, NULL) == (i != 1),
                      "%s", names[i]);
    dns_cache_free(&c);
}
END_TEST

START_TEST(bytes_are_bounded)
{
    enum { MAX = 16 };
    struct dns_cache *c = cache_of(MAX);
    char name[32];

    make_hosts(DNS_RR_MAX, 60);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d.test", i);
        dns_cache_put(c, name, DNS_MX, 0, &in);
        ck_assert_uint_le(dns_cache_bytes(c), MAX * DNS_CACHE_BYTES);
        ck_assert(dns_cache_get(c, name, DNS_MX, 0, NULL));
    }
    ck_assert_uint_gt(dns_cache_count(c), 1);
    dns_cache_free(&c);
}
END_TEST

START_TEST(what_never_fits_is_not_kept)
{
    struct dns_cache *c = cache_of(1);

    make_hosts(DNS_RR_MAX, 60);
    dns_cache_put(c, "a.test", DNS_MX, 0, &in);
    ck_assert_uint_eq(dns_cache_count(c), 0);
    dns_cache_free(&c);
    ck_assert_ptr_null(c);
    dns_cache_free(&c);
}
END_TEST

START_TEST(negative_answers_are_forgotten)
{
    static const struct dns_found none = { .status = DNS_NXDOMAIN, .ttl = 9 };
    struct dns_cache *c = cache_of(4);

    make_hosts(1, 9);
    dns_cache_put(c, "a.test", DNS_MX, 1, &none);
    dns_cache_put(c, "b.test", DNS_MX, 1, &in);
    dns_cache_put(c, "c.test", DNS_A, 1, &none);
    dns_cache_forget_negative(c);
    ck_assert(!dns_cache_get(c, "a.test", DNS_MX, 1, NULL));
    ck_assert(dns_cache_get(c, "b.test", DNS_MX, 1, NULL));
    ck_assert(!dns_cache_get(c, "c.test", DNS_A, 1, NULL));
    ck_assert_uint_eq(dns_cache_count(c), 1);
    dns_cache_free(&c);
}
END_TEST

Suite *dns_cache_suite(void);
Suite *dns_cache_suite(void)
{
    Suite *s = suite_create("dns_cache");
    TCase *t = tcase_create("cache");

    tcase_add_loop_test(t, answers_age, 0, sizeof ages / sizeof ages[0]);
    tcase_add_test(t, addresses_come_back);
    tcase_add_test(t, negative_answers_are_kept);
    tcase_add_test(t, newer_answer_replaces);
    tcase_add_test(t, least_used_goes_first);
    tcase_add_test(t, bytes_are_bounded);
    tcase_add_test(t, what_never_fits_is_not_kept);
    tcase_add_test(t, negative_answers_are_forgotten);
    suite_add_tcase(s, t);
    return s;
}
