/* test_policy.c - the runner of checks: order, waits, the end. */
#include "policy/policy.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct {
    char asked[40];   /* names of the checks, in the order of their calls */
    const char *says; /* p, w or r for each call; the last one stays */
    unsigned answered, cancelled;
} me;

static struct verdict say(const char *name)
{
    static const enum verdict_kind kinds[] = { VERDICT_PASS, VERDICT_WAIT,
                                               VERDICT_REJECT };
    struct verdict v = { .code = 550, .text = name };

    me.asked[strlen(me.asked)] = *name;
    v.kind = kinds[strchr("pwr", *me.says) - "pwr"];
    if (me.says[1] != '\0')
        me.says++;
    return v;
}

static struct verdict ask_a(struct policy *p)
{
    (void)p;
    return say("a");
}

static struct verdict ask_b(struct policy *p)
{
    (void)p;
    return say("b");
}

static struct verdict ask_c(struct policy *p)
{
    (void)p;
    return say("c");
}

static void cancel(struct policy *p)
{
    (void)p;
    me.cancelled++;
}

static const struct policy_check checks[] = {
    { POLICY_MAIL, "first", ask_a, cancel },
    { POLICY_RCPT, "other", ask_b, NULL },
    { POLICY_MAIL, "last", ask_c, cancel },
};

static void on_answered(void *ctx)
{
    ck_assert_ptr_eq(ctx, &me);
    me.answered++;
}

static const struct policy_env env = { .checks = checks, .nchecks = 3 };

static struct policy new_policy(const char *says)
{
    memset(&me, 0, sizeof me);
    me.says = says;
    return (struct policy){ .env = &env, .answered = on_answered, .ctx = &me };
}

static const struct {
    const char *says;
    enum policy_stage stage;
    unsigned times; /* policy_ask(), with an answer between */
    enum verdict_kind kind;
    const char *asked, *check; /* check: of the verdict */
} cases[] = {
    { "p", POLICY_MAIL, 1, VERDICT_PASS, "ac", "last" },
    { "p", POLICY_RCPT, 1, VERDICT_PASS, "b", "other" },
    { "p", POLICY_DOT, 1, VERDICT_PASS, "", NULL },
    { "r", POLICY_MAIL, 1, VERDICT_REJECT, "a", "first" },
    { "pr", POLICY_MAIL, 1, VERDICT_REJECT, "ac", "last" },
    { "w", POLICY_MAIL, 1, VERDICT_WAIT, "a", "first" },
    { "wp", POLICY_MAIL, 2, VERDICT_PASS, "aac", "last" },
    { "wr", POLICY_MAIL, 2, VERDICT_REJECT, "aa", "first" },
    { "pw", POLICY_MAIL, 1, VERDICT_WAIT, "ac", "last" },
    { "pwp", POLICY_MAIL, 2, VERDICT_PASS, "acc", "last" },
    { "wpwwp", POLICY_MAIL, 4, VERDICT_PASS, "aaccc", "last" },
    /* the next command begins anew */
    { "pwrp", POLICY_MAIL, 3, VERDICT_PASS, "accac", "last" },
};

START_TEST(ask)
{
    struct policy p = new_policy(cases[_i].says);
    struct verdict v = { .kind = VERDICT_PASS };

    for (unsigned i = 0; i < cases[_i].times; i++) {
        v = policy_ask(&p, cases[_i].stage);
        unsigned before = me.answered;
        if (i + 1 < cases[_i].times)
            policy_answered(&p);
        ck_assert_uint_eq(me.answered - before,
                          i + 1 < cases[_i].times && v.kind == VERDICT_WAIT);
    }
    ck_assert_int_eq(v.kind, cases[_i].kind);
    ck_assert_str_eq(me.asked, cases[_i].asked);
    ck_assert(cases[_i].check == NULL || strcmp(v.check, cases[_i].check) == 0);
}
END_TEST

START_TEST(an_answer_that_nothing_waits_for)
{
    struct policy p = new_policy("w");

    policy_answered(&p);
    ck_assert_uint_eq(me.answered, 0);
    ck_assert_int_eq(policy_ask(&p, POLICY_MAIL).kind, VERDICT_WAIT);
    policy_cancel(&p);
    policy_answered(&p);
    ck_assert_uint_eq(me.answered, 0);
    ck_assert_uint_eq(me.cancelled, 2);
}
END_TEST

Suite *policy_suite(void);
Suite *policy_suite(void)
{
    Suite *s = suite_create("policy");
    TCase *t = tcase_create("policy");

    tcase_add_loop_test(t, ask, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, an_answer_that_nothing_waits_for);
    suite_add_tcase(s, t);
    return s;
}
