/* test_powercut.c - lives with power cuts in them (power.h), and proof that
 * they would notice a missing sync, or unlinks in any order.
 *
 * POWERCUT_SECONDS=600 goes on with new lives for that long, POWERCUT_SEED=7
 * lives that life. */
#include "few.h"
#include "power.h"

#include "disk_model.h"

#include <check.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIVES = 12, LIVES_SHORT = 1, LIVES_OF_A_LIE = 100 };

static void teardown(void)
{
    model_stop();
    model_fail = NULL;
    model_lie = NULL;
    model_free();
}

static struct life life_of(uint64_t seed)
{
    return (struct life){ .seed = seed,
                          .epochs = 3,
                          .disks = 25,
                          .quiet = seed % 4 == 0,
                          .named = seed % 4 >= 2,
                          .kind = seed % 3 == 1 ? CONF_MBOX : CONF_MAILDIR };
}

static void add(struct life *sum, const struct life *l)
{
    sum->calls += l->calls;
    sum->judged += l->judged;
    sum->kills += l->kills;
    sum->failed_calls += l->failed_calls;
    sum->sent += l->sent;
    sum->recoveries += l->recoveries;
    memcpy(sum->fault, l->fault, sizeof sum->fault);
}

static void print(const struct life *sum, unsigned long long lives)
{
    printf("powercut: %llu lives, %zu messages, %zu calls, %zu failed, "
           "%zu kills, %zu starts of consumers, %zu disks: no fault\n",
           lives, sum->sent, sum->calls, sum->failed_calls, sum->kills,
           sum->recoveries, sum->judged);
    fflush(stdout);
}

static unsigned long long number_of(const char *name,
                                    unsigned long long otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

START_TEST(nothing_is_lost)
{
    unsigned long long seconds = number_of("POWERCUT_SECONDS", 0);
    unsigned long long lives = getenv("TEST_SHORT") ? LIVES_SHORT : LIVES;
    unsigned long long seed = number_of("POWERCUT_SEED", 0), n = 0;
    time_t end = time(NULL) + (time_t)seconds;
    struct life sum = { 0 };

    if (getenv("POWERCUT_SEED") != NULL && seconds == 0)
        lives = 1;
    for (; seconds > 0 ? time(NULL) < end : n < lives; n++) {
        struct life l = life_of(seed + n);
        life_run(&l);
        add(&sum, &l);
        ck_assert_msg(sum.fault[0] == '\0', "%s", sum.fault);
        if (seconds > 0 && n % 100 == 99)
            print(&sum, n + 1);
    }
    print(&sum, n);
    ck_assert_uint_gt(sum.judged, 0);
}
END_TEST

/* --- syncs that are left out ---------------------------------------------- */

static const struct lie {
    const char *name;
    enum conf_mailbox kind;
    enum model_kind call;
    const char *path; /* a pattern */
    bool named;
} lies[] = {
    { "segments", CONF_MAILDIR, MODEL_SYNC, "queue/remote/*", false },
    { "entries of segments", CONF_MAILDIR, MODEL_SYNC_DIR, "queue/remote",
      false },
    { "segments of local/", CONF_MAILDIR, MODEL_SYNC, "queue/local/*", false },
    { "entries of them", CONF_MAILDIR, MODEL_SYNC_DIR, "queue/local", false },
    { "copies", CONF_MAILDIR, MODEL_SYNC, "mail/*/new/*", false },
    { "copies with a name", CONF_MAILDIR, MODEL_SYNC, "mail/*/tmp/*", true },
    { "entries of copies", CONF_MAILDIR, MODEL_SYNC_DIR, "mail/*/new", false },
    { "new, of a Maildir", CONF_MAILDIR, MODEL_SYNC_DIR, "mail/*", false },
    { "entries of Maildirs", CONF_MAILDIR, MODEL_SYNC_DIR, "mail", false },
    { "mbox files", CONF_MBOX, MODEL_SYNC, "mail/*", false },
    { "entries of mbox files", CONF_MBOX, MODEL_SYNC_DIR, "mail", false },
};
static const struct lie *lie;

static bool leave_out(const struct model_op *op)
{
    return op->kind == lie->call &&
           fnmatch(lie->path, model_path(op->node), FNM_PATHNAME) == 0;
}

START_TEST(a_missing_sync_is_noticed)
{
    struct life l = { .fault = "" };

    if (few_step() > 1)
        return; /* shown by the plain run */
    lie = &lies[_i];
    model_lie = leave_out;
    for (unsigned i = 0; i < LIVES_OF_A_LIE && l.fault[0] == '\0'; i++) {
        l = life_of(i);
        l.quiet = true;
        l.kind = lie->kind;
        l.named = lie->named;
        life_run(&l);
    }
    ck_assert_msg(l.fault[0] != '\0', "no sync of %s, and nothing is lost",
                  lie->name);
    printf("no sync of %s: %s\n", lie->name, l.fault);
}
END_TEST

START_TEST(a_missing_order_is_noticed)
{
    struct life l = { .fault = "" };

    if (few_step() > 1)
        return; /* shown by the plain run */
    for (unsigned i = 0; i < 4 * LIVES_OF_A_LIE && l.fault[0] == '\0'; i++) {
        l = life_of(i);
        l.quiet = true;
        l.unordered = true;
        l.epochs = 6;
        l.disks = 8;
        life_run(&l);
    }
    ck_assert_msg(l.fault[0] != '\0', "no order, and nothing comes back");
    printf("no order of unlinks: %s\n", l.fault);
}
END_TEST

Suite *powercut_suite(void);
Suite *powercut_suite(void)
{
    Suite *s = suite_create("powercut");
    TCase *t = tcase_create("powercut");

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_set_timeout(t, 0);
    tcase_add_test(t, nothing_is_lost);
    tcase_add_loop_test(t, a_missing_sync_is_noticed, 0,
                        (int)(sizeof lies / sizeof lies[0]));
    tcase_add_test(t, a_missing_order_is_noticed);
    suite_add_tcase(s, t);
    return s;
}
