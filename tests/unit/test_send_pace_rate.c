/* test_send_pace_rate.c - the arithmetic of a pace, and the table of providers.
 */
#include "send/pace_rate.h"
#include "send/provider.h"

#include <check.h>
#include <string.h>

START_TEST(a_sign_halves_the_rate)
{
    struct pace_rate r = { 0 };

    ck_assert_uint_eq(pace_slow(&r, 500, 0), 60);
    ck_assert_uint_eq(r.rate, 250);
    ck_assert_uint_eq(r.too_much, 500);
    ck_assert_uint_eq(pace_slow(&r, 9999, 0), 120); /* the limit counts now */
    ck_assert_uint_eq(r.rate, 125);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_le(pace_slow(&r, 0, 0), PACE_PAUSE_MAX);
    ck_assert_uint_eq(r.rate, 1); /* the floor */
    ck_assert(pace_is_sane(&r));
}
END_TEST

START_TEST(a_first_sign_without_mail)
{
    struct pace_rate r = { 0 };

    ck_assert_uint_eq(pace_slow(&r, 0, 0), 60);
    ck_assert_uint_eq(r.rate, 1);
    ck_assert(pace_is_limited(&r));
}
END_TEST

START_TEST(pauses_double_up_to_an_hour)
{
    static const uint32_t pauses[] = {
        60, 120, 240, 480, 960, 1920, 3600, 3600
    };
    struct pace_rate r = { 0 };

    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++)
        ck_assert_uint_eq(pace_slow(&r, 100, 0), pauses[i]);
    pace_grow(&r); /* a good minute ends the row */
    ck_assert_uint_eq(pace_slow(&r, 100, 0), 60);
}
END_TEST

START_TEST(a_named_pause_counts)
{
    struct pace_rate r = { 0 };

    ck_assert_uint_eq(pace_slow(&r, 10, 900), 900);
    ck_assert_uint_eq(pace_slow(&r, 10, 5), 120); /* never less */
    ck_assert_uint_eq(pace_slow(&r, 10, 999999), PACE_PAUSE_MAX);
}
END_TEST

/* Half, then 1/32 of what was too much a minute, free at twice that. */
START_TEST(good_minutes_add)
{
    struct pace_rate r = { 0 };
    int minutes = 0;

    pace_slow(&r, 640, 0);
    pace_grow(&r);
    ck_assert_uint_eq(r.rate, 340);
    for (; r.rate > 0; minutes++)
        pace_grow(&r);
    ck_assert_int_eq(minutes, 47);
    ck_assert(!pace_is_limited(&r));
}
END_TEST

START_TEST(sessions_are_halved_and_added)
{
    struct pace_rate r = { 0 };

    pace_fewer(&r, 8, true);
    ck_assert_uint_eq(r.sessions, 4);
    ck_assert_uint_eq(r.rate, 0);
    pace_grow(&r);
    ck_assert_uint_eq(r.sessions, 5);
    pace_fewer(&r, 5, false);
    ck_assert_uint_eq(r.sessions, 4);
    pace_fewer(&r, 1, true);
    ck_assert_uint_eq(r.sessions, 1);
    for (int i = 0; i < 3; i++)
        pace_grow(&r);
    ck_assert_uint_eq(r.sessions, 0);
}
END_TEST

START_TEST(a_stop_is_an_hour_and_doubles)
{
    static const uint32_t hours[] = { 1, 2, 4, 8, 8, 8 };
    struct pace_rate r = { 0 };
    int minutes = 0;

    for (size_t i = 0; i < sizeof hours / sizeof hours[0]; i++) {
        ck_assert_uint_eq(pace_stop(&r, 1000), hours[i] * 3600);
        ck_assert_uint_eq(r.rate, 1);
        ck_assert_uint_eq(r.sessions, 1);
    }
    while (pace_is_limited(&r)) {
        pace_grow(&r);
        minutes++;
    }
    ck_assert_int_ge(minutes, 60);
    ck_assert_uint_eq(pace_stop(&r, 0), 3600);
    for (minutes = 0; pace_is_limited(&r); minutes++)
        pace_grow(&r); /* and without mail before it too */
    ck_assert_int_ge(minutes, 60);
}
END_TEST

START_TEST(a_minute_counts_when_it_was_used)
{
    struct pace_rate r = { .rate = 100, .too_much = 200 };

    ck_assert(!pace_was_used(&r, 0));
    ck_assert(!pace_was_used(&r, 49));
    ck_assert(pace_was_used(&r, 50));
    r.rate = 1;
    ck_assert(!pace_was_used(&r, 0));
    ck_assert(pace_was_used(&r, 1));
    r.rate = 0; /* sessions alone are limited */
    ck_assert(pace_was_used(&r, 1));
}
END_TEST

/* In a minute as many as the rate, and a second's worth at once. */
START_TEST(messages_are_spread)
{
    static const uint32_t rates[] = { 1, 7, 60, 600, 60000, PACE_RATE_MAX };

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct pace_rate r = { .rate = rates[i], .too_much = rates[i] };
        uint64_t now = 1000000000, next = 0, sent = 0, first = 0;
        for (int ms = 0; ms < 60000; ms++, now += 1000)
            while (pace_may(&r, next, now)) {
                next = pace_after(&r, next, now);
                sent++;
                first += ms == 0;
            }
        ck_assert_uint_ge(sent, rates[i]);
        ck_assert_uint_le(sent, rates[i] + rates[i] / 60 + 1);
        ck_assert_uint_le(first, rates[i] / 60 + 1);
    }
}
END_TEST

START_TEST(one_that_came_back_was_not_sent)
{
    struct pace_rate r = { .rate = 60, .too_much = 60 };
    uint64_t now = 5000000, next = pace_after(&r, 0, now);

    ck_assert(!pace_may(&r, next, now));
    next = pace_back(&r, next);
    ck_assert(pace_may(&r, next, now));
    ck_assert_uint_eq(pace_back(&r, 5), 0);
}
END_TEST

START_TEST(no_limit_never_waits)
{
    struct pace_rate r = { 0 };

    ck_assert(pace_may(&r, UINT64_MAX, 0));
    ck_assert_uint_eq(pace_when(&r, UINT64_MAX), 0);
    ck_assert(pace_is_sane(&r));
    r.rate = 5; /* of nothing */
    ck_assert(!pace_is_sane(&r));
}
END_TEST

/* --- providers --------------------------------------------------------------- */

static const struct {
    const char *host, *group;
} hosts[] = {
    { "aspmx.l.google.com", "google" },
    { "ASPMX.L.GOOGLE.COM.", "google" },
    { "alt2.aspmx.l.google.com", "google" },
    { "aspmx3.googlemail.com", "google" },
    { "example-com.mail.protection.outlook.com", "microsoft" },
    { "hotmail-com.olc.protection.outlook.com", "microsoft" },
    { "example-com.r-v1.mx.microsoft", "microsoft" },
    { "mta7.am0.yahoodns.net", "yahoo" },
    { "mx.yandex.ru", "yandex" },
    { "mx.yandex.net", "yandex" },
    { "mx01.mail.icloud.com", "icloud" },
    { "mxs.mail.ru", "mailru" },
    { "mx00.gmx.net", "gmx" },
    { "mx1a1.comcast.net", "comcast" },
    { "c-192-0-2-1.hsd1.pa.comcast.net", NULL }, /* a customer's */
    { "comcast.net", NULL },
    { "google.com", NULL },
    { "notgoogle.com", NULL },
    { "mx.google.com.evil.test", NULL },
    { "xmail.ru", NULL },
    { "", NULL },
    { ".", NULL },
    /* of the settings */
    { "mx.own.test", "own" },
    { "special.google.com", "own" },
    { "other.special.google.com", "google" },
    { "one.test", "own" },
    { "sub.one.test", NULL },
};

START_TEST(host_is_of_group)
{
    static struct conf_provider own[] = { { "own", ".own.test" },
                                          { "own", "special.google.com" },
                                          { "own", "one.test" } };
    const struct conf_providers set = { 3, own };
    const char *group = provider_of(&set, hosts[_i].host);

    ck_assert_msg((group == NULL) == (hosts[_i].group == NULL) &&
                      (group == NULL || strcmp(group, hosts[_i].group) == 0),
                  "%s: %s", hosts[_i].host, group != NULL ? group : "none");
}
END_TEST

Suite *send_pace_rate_suite(void);
Suite *send_pace_rate_suite(void)
{
    Suite *s = suite_create("send.pace_rate");
    TCase *t = tcase_create("rate");

    tcase_add_test(t, a_sign_halves_the_rate);
    tcase_add_test(t, a_first_sign_without_mail);
    tcase_add_test(t, pauses_double_up_to_an_hour);
    tcase_add_test(t, a_named_pause_counts);
    tcase_add_test(t, good_minutes_add);
    tcase_add_test(t, sessions_are_halved_and_added);
    tcase_add_test(t, a_stop_is_an_hour_and_doubles);
    tcase_add_test(t, a_minute_counts_when_it_was_used);
    tcase_add_test(t, messages_are_spread);
    tcase_add_test(t, one_that_came_back_was_not_sent);
    tcase_add_test(t, no_limit_never_waits);
    tcase_add_loop_test(t, host_is_of_group, 0, sizeof hosts / sizeof hosts[0]);
    suite_add_tcase(s, t);
    return s;
}
