/* test_base_clock.c - the two clocks, and how times are written. */
#include "base/clock.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    uint64_t us;
    const char *text;
} utc[] = {
    { 0, "1970-01-01T00:00:00.000000Z" },
    { 1, "1970-01-01T00:00:00.000001Z" },
    { 999999, "1970-01-01T00:00:00.999999Z" },
    { 951782400000000u, "2000-02-29T00:00:00.000000Z" },
    { 1769853600123456u, "2026-01-31T10:00:00.123456Z" },
    { 2147483648000000u, "2038-01-19T03:14:08.000000Z" },
    { 4107542399000000u, "2100-02-28T23:59:59.000000Z" },
    { 4107542400000000u, "2100-03-01T00:00:00.000000Z" },
    { 253402300799999999u, "9999-12-31T23:59:59.999999Z" },
};

START_TEST(rfc3339)
{
    char out[CLOCK_RFC3339_MAX + 1];

    out[CLOCK_RFC3339_MAX] = '#';
    ck_assert_uint_eq(clock_rfc3339(out, utc[_i].us), strlen(utc[_i].text));
    ck_assert_str_eq(out, utc[_i].text);
    ck_assert_int_eq(out[CLOCK_RFC3339_MAX], '#');
}
END_TEST

static const struct {
    const char *zone;
    uint64_t us;
    const char *text;
} local[] = {
    { "UTC0", 1769853600123456u, "Sat, 31 Jan 2026 10:00:00 +0000" },
    { "UTC0", 0, "Thu, 1 Jan 1970 00:00:00 +0000" },
    { "XXX-5:30", 1769853600000000u, "Sat, 31 Jan 2026 15:30:00 +0530" },
    { "XXX+3:30", 0, "Wed, 31 Dec 1969 20:30:00 -0330" },
    { "XXX-14", 1798761599000000u, "Fri, 1 Jan 2027 13:59:59 +1400" },
    { "CET-1CEST,M3.5.0,M10.5.0/3", 1774745999000000u,
      "Sun, 29 Mar 2026 01:59:59 +0100" },
    { "CET-1CEST,M3.5.0,M10.5.0/3", 1774746000000000u,
      "Sun, 29 Mar 2026 03:00:00 +0200" },
};

START_TEST(rfc5322)
{
    char out[CLOCK_RFC5322_MAX];
    const char *had = getenv("TZ");
    char before[100] = "";

    if (had != NULL)
        strncpy(before, had, sizeof before - 1);
    setenv("TZ", local[_i].zone, 1);
    tzset();
    size_t n = clock_rfc5322(out, local[_i].us);
    if (had != NULL)
        setenv("TZ", before, 1);
    else
        unsetenv("TZ");
    tzset();
    ck_assert_str_eq(out, local[_i].text);
    ck_assert_uint_eq(n, strlen(out));
}
END_TEST

static const struct {
    const char *text;
    uint64_t us; /* 0: it is no time */
} parsed[] = {
    { "2026-01-31T10:00:00.123456Z", 1769853600123456u },
    { "2026-01-31 10:00:00Z", 1769853600000000u },
    { "2026-01-31T10:00Z", 1769853600000000u },
    { "2026-01-31T12:30:00.5+02:30", 1769853600500000u },
    { "2026-01-31T03:00:00-07:00", 1769853600000000u },
    { "2026-01-31T10:00:00.1234567Z", 1769853600123456u },
    { "2024-02-29T00:00:00Z", 1709164800000000u },
    { "2000-03-01T00:00:00Z", 951868800000000u },
    { "2100-03-01T00:00:00Z", 4107542400000000u },
    { "2026-01-31", 1769817600000000u }, /* local, where TZ is UTC */
    { "2026-01-31T10:00", 1769853600000000u },
    { "", 0 },
    { "yesterday", 0 },
    { "2026-13-01", 0 },
    { "2026-01-31T24:00Z", 0 },
    { "2026-01-31T10:00:00.Z", 0 },
    { "2026-01-31T10:00:00Zx", 0 },
    { "2026-01-31T10:00:00+0100", 0 },
    { "2026-01-31T10", 0 },
    { "1969-01-31", 0 },
};

START_TEST(reads)
{
    uint64_t us = 0;

    setenv("TZ", "UTC", 1);
    tzset();
    bool ok = clock_parse(&us, parsed[_i].text);
    ck_assert_msg(ok == (parsed[_i].us != 0), "%s", parsed[_i].text);
    ck_assert_msg(!ok || us == parsed[_i].us, "%s: %llu", parsed[_i].text,
                  (unsigned long long)us);
}
END_TEST

START_TEST(clocks)
{
    uint64_t ms = clock_mono_ms(), us = clock_mono_us();
    struct timespec t;

    ck_assert(us / 1000 >= ms && us / 1000 - ms < 10000);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_us();
        ck_assert(now >= us);
        us = now;
    }
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t wall = clock_wall_us(), sec = (uint64_t)t.tv_sec;
    ck_assert(wall / 1000000u >= sec && wall / 1000000u - sec < 10);
}
END_TEST

Suite *base_clock_suite(void);
Suite *base_clock_suite(void)
{
    Suite *s = suite_create("base.clock");
    TCase *t = tcase_create("clock");

    tcase_add_loop_test(t, rfc3339, 0, COUNT(utc));
    tcase_add_loop_test(t, rfc5322, 0, COUNT(local));
    tcase_add_loop_test(t, reads, 0, COUNT(parsed));
    tcase_add_test(t, clocks);
    suite_add_tcase(s, t);
    return s;
}
