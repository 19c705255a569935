/* test_powercut_handover.c - lives of a message that is handed over, with kills
 * and power cuts in them (handover_life.h), and proof that they would notice
 * each rule that is left out.
 *
 * POWERCUT_SECONDS=600 goes on with new lives for that long, POWERCUT_SEED=7
 * lives that life. */
#include "handover_life.h"

#include "disk_model.h"
#include "few.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIVES = 40, LIVES_OF_A_LIE = 4000 };

/* Of the explicit-state model of the protocol. */
static const struct handover_scene scenes[] = {
    { .name = "remote", .slots = "CB" },
    { .name = "direct", .slots = "Cr", .linger = true },
    { .name = "local", .slots = "A" },
    { .name = "two", .slots = "AC" },
    { .name = "later", .slots = "CE", .later = true },
    { .name = "solo", .slots = "CB", .solo = true },
    { .name = "parent", .slots = "CE", .later = true, .reclaim = true },
    { .name = "child", .slots = "Ar", .reclaim = true },
    { .name = "bounce", .slots = "C", .bounce = true },
    { .name = "cuts", .slots = "C" },
};
enum { SCENES = sizeof scenes / sizeof scenes[0], SOLO = 5 };

static void teardown(void)
{
    model_stop();
    model_fail = NULL;
    model_lie = NULL;
    model_free();
}

static struct handover_life life_of(uint64_t seed, size_t scene)
{
    return (struct handover_life){ .seed = seed,
                                   .scene = &scenes[scene],
                                   .epochs = 1 + (unsigned)(seed % 3),
                                   .disks = scene == SOLO ? 6 : 16,
                                   .quiet = seed % 4 == 0 };
}

static unsigned long long number_of(const char *name,
                                    unsigned long long otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

START_TEST(handed_over_once)
{
    unsigned long long seconds = number_of("POWERCUT_SECONDS", 0) / SCENES;
    unsigned long long seed = number_of("POWERCUT_SEED", 0), n = 0;
    unsigned long long lives = getenv("POWERCUT_SEED") != NULL ? 1 : few(LIVES);
    time_t end = time(NULL) + (time_t)seconds;
    size_t calls = 0, kills = 0, judged = 0, children = 0;

    for (; seconds > 0 ? time(NULL) < end : n < lives; n++) {
        struct handover_life l = life_of(seed + n, (size_t)_i);
        handover_life_run(&l);
        ck_assert_msg(l.fault[0] == '\0', "%s: %s", scenes[_i].name, l.fault);
        calls += l.calls;
        kills += l.kills;
        judged += l.judged;
        children += l.children;
    }
    printf("handover: %s: %llu lives, %zu children, %zu calls, %zu kills, "
           "%zu disks: no fault\n",
           scenes[_i].name, n, children, calls, kills, judged);
    fflush(stdout);
    ck_assert_uint_gt(children, 0);
}
END_TEST

/* Calls of a process fail, and it goes on, or ends where it must. */
START_TEST(calls_fail)
{
    size_t failed = 0, judged = 0;

    for (unsigned i = 0; i < (few(LIVES) + 1) / 2; i++) {
        struct handover_life l = life_of(i, (size_t)_i);
        l.faults = true;
        handover_life_run(&l);
        ck_assert_msg(l.fault[0] == '\0', "%s: %s", scenes[_i].name, l.fault);
        failed += l.failed_calls;
        judged += l.judged;
    }
    printf("handover: %s: %zu calls failed, %zu disks: no fault\n",
           scenes[_i].name, failed, judged);
    fflush(stdout);
}
END_TEST

/* One kill, at each call of a life; with TEST_THOROUGH=1 and then a cut behind
 * each later one. */
START_TEST(killed_at_each_call)
{
    bool thorough = getenv("TEST_THOROUGH") != NULL;
    size_t calls = 1, judged = 0, step = few_step() * (_i == SOLO ? 4 : 1);

    for (size_t at = 0; at < calls; at += step) {
        struct handover_life l = life_of(1, (size_t)_i);
        l.quiet = true;
        l.kill_at = at;
        l.disks = 4;
        l.every_cut = at == 0 || thorough;
        handover_life_run(&l);
        ck_assert_msg(l.fault[0] == '\0', "%s, killed at call %zu: %s",
                      scenes[_i].name, at, l.fault);
        calls = l.calls > calls ? l.calls : calls;
        judged += l.judged;
    }
    printf("handover: %s: killed at each of %zu calls, %zu disks: no fault\n",
           scenes[_i].name, calls, judged);
    fflush(stdout);
}
END_TEST

/* --- rules that are left out ---------------------------------------------- */

static const struct {
    enum handover_rule rule;
    const char *name;
    size_t scene; /* in which the search is short */
} rules[] = {
    { PIN, "pin", 0 },
    { AFTER, "after", 0 },
    { SYNC_FIRST, "sync first", 0 },
    { OWN_WORD, "own word", 0 },
    { CLOSED_TOO, "closed too", 0 },
    { DIRS, "dirs", 0 },
    { ANY_LOCK, "any lock", 1 },
    { COPY_ORDER, "copy order", 6 },
    { REC_DIR, "recovered entries", SOLO },
    { NEWEST, "newest", 6 },
    { SNAPSHOT, "snapshot", 0 },
    { AT_START, "at start", 0 },
    { TAIL, "tail", 8 },
    { CHILD_SYNC, "child's sync", 0 },
    { CHILD_ENTRY, "child's entry", SOLO },
    { LOST_SYNC, "an end after a lost sync", 4 },
};

START_TEST(a_missing_rule_is_noticed)
{
    struct handover_life l = { .fault = "" };
    unsigned i = 0;

    if (few_step() > 1)
        return; /* shown by the plain run */
    for (; i < LIVES_OF_A_LIE && l.fault[0] == '\0'; i++) {
        l = life_of(i, rules[_i].scene);
        l.without = rules[_i].rule;
        l.faults = l.without == LOST_SYNC;
        handover_life_run(&l);
    }
    ck_assert_msg(l.fault[0] != '\0', "without %s nothing goes wrong",
                  rules[_i].name);
    printf("without %s, life %u: %s\n", rules[_i].name, i, l.fault);
    fflush(stdout);
}
END_TEST

static void add_case(Suite *s, const char *name, const TTest *test, int n)
{
    TCase *t = tcase_create(name);

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, test, 0, n);
    suite_add_tcase(s, t);
}

Suite *powercut_handover_suite(void);
Suite *powercut_handover_suite(void)
{
    Suite *s = suite_create("powercut_handover");

    add_case(s, "lives", handed_over_once, SCENES);
    add_case(s, "faults", calls_fail, SCENES);
    add_case(s, "kills", killed_at_each_call, SCENES);
    add_case(s, "rules", a_missing_rule_is_noticed,
             (int)(sizeof rules / sizeof rules[0]));
    return s;
}
