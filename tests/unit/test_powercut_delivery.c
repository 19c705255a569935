/* test_powercut_delivery.c - lives of local mail with kills and power cuts in
 * them (power_delivery.h), and proof that they would notice each rule that is
 * left out.
 *
 * POWERCUT_SECONDS=600 goes on with new lives for that long, POWERCUT_SEED=7
 * lives that life. */
#include "power_delivery.h"

#include "disk_model.h"
#include "few.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIVES = 24, LIVES_OF_A_LIE = 2000 };

static void teardown(void)
{
    model_stop();
    model_fail = NULL;
    model_lie = NULL;
    model_free();
}

static struct delivery_life life_of(uint64_t seed)
{
    return (struct delivery_life){ .seed = seed,
                                   .epochs = 1 + (unsigned)(seed % 4),
                                   .disks = 12,
                                   .quiet = seed % 5 == 0,
                                   .named = seed % 4 >= 2,
                                   .kind = seed % 3 == 1 ? CONF_MBOX
                                                         : CONF_MAILDIR };
}

static void add(struct delivery_life *sum, const struct delivery_life *l)
{
    sum->calls += l->calls;
    sum->kills += l->kills;
    sum->failed_calls += l->failed_calls;
    sum->judged += l->judged;
    sum->sent += l->sent;
    sum->starts += l->starts;
    sum->copies += l->copies;
    sum->children += l->children;
    sum->notices += l->notices;
}

static void print(const struct delivery_life *sum, unsigned long long lives)
{
    printf("delivery: %llu lives, %zu messages, %zu copies, %zu children, "
           "%zu notices, %zu calls, %zu failed, %zu kills, %zu starts of "
           "deliver, %zu disks: no fault\n",
           lives, sum->sent, sum->copies, sum->children, sum->notices,
           sum->calls, sum->failed_calls, sum->kills, sum->starts, sum->judged);
    fflush(stdout);
}

static unsigned long long number_of(const char *name,
                                    unsigned long long otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* So many lives, or as many as there is time for. */
static void live(bool faults, unsigned long long lives,
                 unsigned long long seconds)
{
    unsigned long long seed = number_of("POWERCUT_SEED", 0), n = 0;
    time_t end = time(NULL) + (time_t)seconds;
    struct delivery_life sum = { .faults = faults };

    if (getenv("POWERCUT_SEED") != NULL && seconds == 0)
        lives = 1;
    for (; seconds > 0 ? time(NULL) < end : n < lives; n++) {
        struct delivery_life l = life_of(seed + n);
        l.faults = faults;
        delivery_life_run(&l);
        ck_assert_msg(l.fault[0] == '\0', "%s", l.fault);
        add(&sum, &l);
        if (seconds > 0 && n % 100 == 99)
            print(&sum, n + 1);
    }
    print(&sum, n);
    ck_assert_uint_gt(sum.copies, 0);
}

START_TEST(delivered_once)
{
    live(false, few(LIVES), number_of("POWERCUT_SECONDS", 0) / 4 * 3);
}
END_TEST

/* Calls of a process fail, and it goes on, or ends where it must. */
START_TEST(calls_fail)
{
    live(true, (few(LIVES) + 1) / 2, number_of("POWERCUT_SECONDS", 0) / 4);
}
END_TEST

static const struct {
    enum delivery_rule rule;
    const char *name, *fault; /* part of what goes wrong */
    bool named;               /* are drafts */
} rules[] = {
    { LOOK_FIRST, "a look for copies at a start", "2 times", false },
    { MARK_LAST, "the sync before the mark", "is lost for", false },
    { TEXT_FIRST, "the sync of the text before its name", "half a message",
      false },
    { TEXT_FIRST, "the sync of the text before its rename", "half a message",
      true },
    { COPY_ENTRY, "the sync of new", "is lost for", false },
    { COPY_ENTRY, "the sync of new behind a rename", "is lost for", true },
    { BOX_ENTRY, "the sync of a new mailbox", "is lost for", false },
    { ONE_NAME, "one name for all tries", "2 times", false },
    { PUBLISH_FIRST, "the publication before the mark", "is lost for", false },
    { MARKS_SYNC, "the sync before the confirmation", "again", false },
    { NOTICE_SYNC, "the sync of a notice", "the notice", false },
};

START_TEST(a_missing_rule_is_noticed)
{
    struct delivery_life l = { .fault = "" };
    unsigned i = 0;

    if (few_step() > 1)
        return; /* shown by the plain run */
    for (; i < LIVES_OF_A_LIE && strstr(l.fault, rules[_i].fault) == NULL;
         i++) {
        l = life_of(i);
        l.kind = CONF_MAILDIR;
        l.epochs = 2;
        l.named = rules[_i].named;
        l.without = rules[_i].rule;
        delivery_life_run(&l);
    }
    ck_assert_msg(i < LIVES_OF_A_LIE, "without %s nothing goes wrong",
                  rules[_i].name);
    printf("without %s, life %u: %s\n", rules[_i].name, i, l.fault);
    fflush(stdout);
}
END_TEST

Suite *powercut_delivery_suite(void);
Suite *powercut_delivery_suite(void)
{
    Suite *s = suite_create("powercut_delivery");
    TCase *lives = tcase_create("lives"), *t = tcase_create("rules");

    tcase_add_checked_fixture(lives, NULL, teardown);
    tcase_set_timeout(lives, 0);
    tcase_add_test(lives, delivered_once);
    tcase_add_test(lives, calls_fail);
    suite_add_tcase(s, lives);
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, a_missing_rule_is_noticed, 0,
                        (int)(sizeof rules / sizeof rules[0]));
    suite_add_tcase(s, t);
    return s;
}
