/* test_signer_channel.c - when the supervisor takes a signer for stuck. */
#include "signer/page_private.h"

#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct signer_channel c;

static void setup(void)
{
    struct err e;

    ck_assert_int_eq(signer_channel_open(&c, &e), 0);
}

static void teardown(void)
{
    signer_channel_close(&c);
}

/* Looks until it is taken for stuck; 0: so many do not suffice. */
static int looks(int most)
{
    for (int n = 1; n <= most; n++)
        if (signer_is_stuck(&c))
            return n;
    return 0;
}

START_TEST(without_a_request_it_never_is)
{
    ck_assert_int_eq(looks(1000), 0);
}
END_TEST

START_TEST(a_request_that_stays_unread)
{
    ck_assert_int_eq(send(c.sender, "x", 1, 0), 1);
    ck_assert_int_eq(looks(1000), 4);
}
END_TEST

/* Else a machine on which a start takes longer would never have one. */
START_TEST(the_next_has_more_time)
{
    ck_assert_int_eq(send(c.sender, "x", 1, 0), 1);
    for (int n = 4; n <= 64; n *= 2)
        ck_assert_int_eq(looks(1000), n);
    ck_assert_int_eq(looks(1000), 64);
    c.page->progress++;
    ck_assert_int_eq(looks(1), 0);
    ck_assert_int_eq(looks(1000), 4);
}
END_TEST

Suite *signer_channel_suite(void);
Suite *signer_channel_suite(void)
{
    Suite *s = suite_create("signer.channel");
    TCase *t = tcase_create("stuck");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, without_a_request_it_never_is);
    tcase_add_test(t, a_request_that_stays_unread);
    tcase_add_test(t, the_next_has_more_time);
    suite_add_tcase(s, t);
    return s;
}
