/* test_recipient_full_page.c - what one process writes, another reads. */
#include "recipient/full_page.h"

#include <check.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct full_page *page;

static void set_up(void)
{
    struct err e;

    ck_assert_int_eq(full_page_new(&page, &e), 0);
}

static void tear_down(void)
{
    full_page_free(&page);
    full_page_free(&page); /* NULL by now */
}

START_TEST(until_then)
{
    ck_assert(!full_page_disk(page, 0));
    ck_assert(!full_page_mailbox(page, "ann", 0));
    full_page_set_disk(page, 1000);
    full_page_set_mailbox(page, "ann", 2000);
    ck_assert(full_page_disk(page, 999));
    ck_assert(!full_page_disk(page, 1000));
    ck_assert(full_page_mailbox(page, "ann", 1999));
    ck_assert(!full_page_mailbox(page, "ann", 2000));
    ck_assert(!full_page_mailbox(page, "bob", 1999));
    full_page_clear_mailbox(page, "bob");
    ck_assert(full_page_mailbox(page, "ann", 1999));
    full_page_clear_mailbox(page, "ann");
    full_page_clear_disk(page);
    ck_assert(!full_page_mailbox(page, "ann", 0));
    ck_assert(!full_page_disk(page, 0));
}
END_TEST

/* Of two in one place the later counts, never a wrong one. */
START_TEST(more_mailboxes_than_places)
{
    char key[32];
    unsigned n = 0;

    for (unsigned i = 0; i < 10000; i++) {
        snprintf(key, sizeof key, "user%u", i);
        full_page_set_mailbox(page, key, 5000);
        ck_assert(full_page_mailbox(page, key, 0));
    }
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(key, sizeof key, "user%u", i);
        n += full_page_mailbox(page, key, 0);
        snprintf(key, sizeof key, "other%u", i);
        ck_assert(!full_page_mailbox(page, key, 0));
    }
    ck_assert_uint_gt(n, 2000);
    ck_assert_uint_le(n, 4096);
}
END_TEST

START_TEST(another_process_reads_it)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        full_page_set_mailbox(page, "ann@two.example", 5000);
        full_page_set_disk(page, 7000);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(full_page_mailbox(page, "ann@two.example", 4999));
    ck_assert(full_page_disk(page, 6999));
}
END_TEST

Suite *recipient_full_page_suite(void);
Suite *recipient_full_page_suite(void)
{
    Suite *s = suite_create("recipient.full_page");
    TCase *t = tcase_create("page");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, until_then);
    tcase_add_test(t, more_mailboxes_than_places);
    tcase_add_test(t, another_process_reads_it);
    suite_add_tcase(s, t);
    return s;
}
