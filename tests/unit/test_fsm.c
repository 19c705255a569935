/* test_fsm.c - the engine and its proofs, on toy tables. */
#include "fsm/fsm.h"
#include "fsm_check.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define FSM_ROW(st, ev, guard, act, next)                                      \
    {                                                                          \
        (st), (ev), (next), (guard), (act), #guard, #act                       \
    }

enum { S_OFF, S_ON, S_BROKEN, S_GONE };
enum { E_PUSH, E_KICK, E_LEAVE, E_FUSE };

struct lamp {
    unsigned pushes, refused, bangs;
    bool locked;
};

static bool is_locked(const void *ctx)
{
    return ((const struct lamp *)ctx)->locked;
}

static unsigned char count(void *ctx)
{
    ((struct lamp *)ctx)->pushes++;
    return FSM_QUIET;
}

static unsigned char refuse(void *ctx)
{
    ((struct lamp *)ctx)->refused++;
    return FSM_QUIET;
}

static unsigned char bang(void *ctx)
{
    ((struct lamp *)ctx)->bangs++;
    return E_FUSE;
}

static const char *const states[] = { "off", "on", "broken", "gone" };
static const char *const events[] = { "push", "kick", "leave", "fuse" };

/* clang-format off */
static const struct fsm_row rows[] = {
    FSM_ROW(S_OFF,    E_PUSH,  is_locked, refuse, FSM_ANY),
    FSM_ROW(S_OFF,    E_PUSH,  NULL,      count,  S_ON),
    FSM_ROW(S_ON,     E_PUSH,  NULL,      count,  S_OFF),
    FSM_ROW(S_ON,     E_FUSE,  NULL,      NULL,   S_BROKEN),
    FSM_ROW(S_BROKEN, E_KICK,  NULL,      NULL,   FSM_ANY),
    FSM_ROW(FSM_ANY,  E_PUSH,  NULL,      refuse, FSM_ANY),
    FSM_ROW(FSM_ANY,  E_KICK,  NULL,      bang,   FSM_ANY),
    FSM_ROW(FSM_ANY,  E_LEAVE, NULL,      NULL,   S_GONE),
};
/* clang-format on */

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct fsm lamp = {
    "lamp", states, events, 4, 4, 3, S_OFF, S_GONE, rows, COUNT(rows),
};

static const struct {
    const char *name;
    unsigned char from;
    unsigned event;
    bool locked;
    int rc;
    unsigned char to;
    struct lamp after;
} steps[] = {
    { "plain row", S_OFF, E_PUSH, false, 0, S_ON, { 1, 0, 0, false } },
    { "guard first", S_OFF, E_PUSH, true, 0, S_OFF, { 0, 1, 0, true } },
    { "row of the state", S_ON, E_PUSH, true, 0, S_OFF, { 1, 0, 0, true } },
    { "row of any", S_BROKEN, E_PUSH, false, 0, S_BROKEN, { 0, 1, 0, false } },
    { "posted event", S_ON, E_KICK, false, 0, S_BROKEN, { 0, 0, 1, false } },
    { "no action", S_BROKEN, E_KICK, false, 0, S_BROKEN, { 0, 0, 0, false } },
    { "a hole, after its action",
      S_OFF,
      E_KICK,
      false,
      -1,
      S_OFF,
      { 0, 0, 1, false } },
    { "a hole", S_OFF, E_FUSE, false, -1, S_OFF, { 0, 0, 0, false } },
    { "to the end", S_ON, E_LEAVE, false, 0, S_GONE, { 0, 0, 0, false } },
    { "unknown event", S_ON, 47, false, -1, S_ON, { 0, 0, 0, false } },
    { "event out of bounds", S_ON, 48, false, -1, S_ON, { 0, 0, 0, false } },
    { "unknown state", 31, E_PUSH, false, -1, 31, { 0, 0, 0, false } },
    { "state out of bounds", 32, E_PUSH, false, -1, 32, { 0, 0, 0, false } },
    { "quiet is no event",
      S_ON,
      FSM_QUIET,
      false,
      0,
      S_ON,
      { 0, 0, 0, false } },
};

START_TEST(feed)
{
    struct fsm_index ix;
    struct lamp l = { .locked = steps[_i].locked };
    unsigned char state = steps[_i].from;

    fsm_index_build(&ix, &lamp);
    int rc = fsm_feed(&lamp, &ix, &state, steps[_i].event, &l);
    ck_assert_msg(rc == steps[_i].rc, "%s: rc %d", steps[_i].name, rc);
    ck_assert_msg(state == steps[_i].to, "%s: state %d", steps[_i].name, state);
    ck_assert_msg(l.pushes == steps[_i].after.pushes &&
                      l.refused == steps[_i].after.refused &&
                      l.bangs == steps[_i].after.bangs,
                  "%s: %u %u %u", steps[_i].name, l.pushes, l.refused, l.bangs);
}
END_TEST

static const struct fsm_row *last_taken;

static void note_row(const struct fsm_row *r)
{
    last_taken = r;
}

START_TEST(rows_that_are_taken_are_shown)
{
    struct fsm_index ix;
    struct lamp l = { 0 };
    unsigned char state = S_OFF;

    fsm_index_build(&ix, &lamp);
    ck_assert_int_eq(fsm_feed(&lamp, &ix, &state, E_PUSH, &l), 0);
    ck_assert_ptr_null(last_taken);
    ix.taken = note_row;
    ck_assert_int_eq(fsm_feed(&lamp, &ix, &state, E_PUSH, &l), 0);
    ck_assert_ptr_eq(last_taken, &rows[2]);
}
END_TEST

/* Rows beyond what a byte of the index can name; 511 looks like "nowhere"
 * when it is cut to a byte. */
START_TEST(long_table)
{
    static struct fsm_row many[600];
    struct fsm m = lamp;
    struct fsm_index ix;

    for (size_t i = 0; i < COUNT(many); i++)
        many[i] =
            (struct fsm_row){ S_OFF, E_LEAVE, S_GONE, NULL, NULL, "", "" };
    many[253] = rows[2]; /* on, push */
    many[511] = (struct fsm_row){ S_ON, E_KICK, S_BROKEN, NULL, NULL, "", "" };
    m.rows = many;
    m.nrows = COUNT(many);
    fsm_index_build(&ix, &m);
    struct lamp l = { 0 };
    unsigned char state = S_ON;
    ck_assert_int_eq(fsm_feed(&m, &ix, &state, E_KICK, &l), 0);
    ck_assert_uint_eq(state, S_BROKEN);
    state = S_ON;
    ck_assert_int_eq(fsm_feed(&m, &ix, &state, E_PUSH, &l), 0);
    ck_assert_uint_eq(state, S_OFF);
    state = S_ON;
    ck_assert_int_eq(fsm_feed(&m, &ix, &state, E_LEAVE, &l), -1);
}
END_TEST

static const char *const drawn[] = {
    "  off [label=\"{off|push [is_locked] / refuse\\l}\", style=bold];\n",
    "  on [label=\"{on}\"];\n",
    "  broken [label=\"{broken|kick\\l}\"];\n",
    "  gone [label=\"{gone}\", style=bold, shape=record];\n",
    "  any [label=\"{any|push / refuse\\lkick / bang\\l}\", style=dashed];\n",
    "  off -> on [label=\"push / count\\l\"];\n",
    "  on -> broken [label=\"fuse\\l\"];\n",
    "  any -> gone [label=\"leave\\l\", style=dashed];\n",
};

/* Rows that share an arrow, a line, or end what leads elsewhere too. */
/* clang-format off */
static const struct fsm_row crowd[] = {
    FSM_ROW(S_OFF,    E_PUSH,  is_locked, NULL,  S_ON),
    FSM_ROW(S_OFF,    E_PUSH,  NULL,      count, S_ON),
    FSM_ROW(S_OFF,    E_KICK,  NULL,      count, S_ON),
    FSM_ROW(S_OFF,    E_LEAVE, NULL,      bang,  S_GONE),
    FSM_ROW(S_ON,     E_LEAVE, NULL,      NULL,  S_GONE),
};
/* clang-format on */

static const char *const crowd_drawn[] = {
    "  off [label=\"{off|leave / bang -\\> gone\\l}\", style=bold];\n",
    "  off -> on [label=\"push [is_locked]\\lpush, kick / count\\l\"];\n",
    "  on -> gone [label=\"leave\\l\"];\n",
};

START_TEST(drawing_of_a_crowd)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    struct fsm m = lamp;

    m.rows = crowd;
    m.nrows = COUNT(crowd);
    fsm_dot(&m, out);
    fclose(out);
    for (size_t i = 0; i < COUNT(crowd_drawn); i++)
        ck_assert_msg(strstr(text, crowd_drawn[i]) != NULL, "not drawn: %s\n%s",
                      crowd_drawn[i], text);
    ck_assert(strstr(text, "off -> gone") == NULL);
    free(text);
}
END_TEST

START_TEST(drawing)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    fsm_dot(&lamp, out);
    fclose(out);
    ck_assert(strncmp(text, "digraph lamp {\n", 15) == 0);
    ck_assert(strcmp(text + n - 3, ";\n}\n") == 0 ||
              strcmp(text + n - 2, "}\n") == 0);
    for (size_t i = 0; i < COUNT(drawn); i++)
        ck_assert_msg(strstr(text, drawn[i]) != NULL, "not drawn: %s\n%s",
                      drawn[i], text);
    ck_assert(strstr(text, "off -> off") == NULL);
    free(text);
}
END_TEST

/* --- proofs: tables with one fault each --------------------------------- */

/* clang-format off */
static const struct fsm_row guarded_only[] = {
    FSM_ROW(FSM_ANY,  E_PUSH,  is_locked, NULL, S_ON),
    FSM_ROW(S_OFF,    E_PUSH,  NULL,      NULL, S_GONE),
    FSM_ROW(S_BROKEN, E_PUSH,  NULL,      NULL, S_GONE),
};
static const struct fsm_row unanswered[] = {
    FSM_ROW(S_OFF,    E_PUSH,  NULL,      NULL, S_ON),
    FSM_ROW(S_ON,     E_PUSH,  NULL,      NULL, S_BROKEN),
    FSM_ROW(S_OFF,    E_KICK,  NULL,      NULL, S_GONE),
    FSM_ROW(S_BROKEN, E_KICK,  NULL,      NULL, S_GONE),
};
static const struct fsm_row island[] = {
    FSM_ROW(S_OFF,    E_PUSH,  NULL,      NULL, S_ON),
    FSM_ROW(FSM_ANY,  E_PUSH,  NULL,      NULL, S_GONE),
};
static const struct fsm_row hidden[] = {
    FSM_ROW(FSM_ANY,  E_PUSH,  NULL,      NULL, S_GONE),
    FSM_ROW(S_OFF,    E_KICK,  NULL,      NULL, S_ON),
    FSM_ROW(S_OFF,    E_PUSH,  NULL,      NULL, S_BROKEN), /* never taken */
};
static const struct fsm_row trap[] = {
    FSM_ROW(S_OFF,    E_KICK,  is_locked, NULL, S_ON),
    FSM_ROW(S_OFF,    E_KICK,  NULL,      NULL, S_BROKEN),
    FSM_ROW(S_ON,     E_PUSH,  NULL,      NULL, FSM_ANY), /* for ever */
    FSM_ROW(S_ON,     E_KICK,  NULL,      NULL, S_ON),
    FSM_ROW(FSM_ANY,  E_PUSH,  NULL,      NULL, S_GONE),
};
static const struct fsm_row out_of_bounds[] = {
    FSM_ROW(FSM_ANY,  E_PUSH,  NULL,      NULL, 7),
};

static const struct {
    const char *name;
    const struct fsm_row *rows;
    size_t nrows;
    unsigned noutside;
    const char *total, *connected; /* words of the fault; NULL: holds, "-":
                                      not looked at */
} faults[] = {
    { "whole table", rows, COUNT(rows), 3, NULL, NULL },
    { "posted events need no answer", rows, COUNT(rows), 4,
      "no certain answer: off on fuse", NULL },
    { "guarded only", guarded_only, COUNT(guarded_only), 1,
      "no certain answer: on on push", "-" },
    { "unanswered", unanswered, COUNT(unanswered), 2,
      "no certain answer: on on kick", NULL },
    { "island", island, COUNT(island), 1, NULL, "never reached: broken" },
    { "only a hidden row leads there", hidden, COUNT(hidden), 1, NULL,
      "never reached: broken" },
    { "trap", trap, COUNT(trap), 1, NULL, "never ends: on" },
    { "out of bounds", out_of_bounds, 1, 1, "out of bounds", "out of bounds" },
};
/* clang-format on */

static void expect(const char *name, const char *got, const char *want)
{
    if (want == NULL)
        ck_assert_msg(got == NULL, "%s: %s", name, got);
    else if (strcmp(want, "-") != 0)
        ck_assert_msg(got != NULL && strstr(got, want) != NULL, "%s: %s", name,
                      got == NULL ? "no fault" : got);
}

START_TEST(proofs)
{
    struct fsm m = lamp;

    m.rows = faults[_i].rows;
    m.nrows = faults[_i].nrows;
    m.noutside = faults[_i].noutside;
    expect(faults[_i].name, fsm_check_total(&m), faults[_i].total);
    expect(faults[_i].name, fsm_check_connected(&m), faults[_i].connected);
}
END_TEST

Suite *fsm_suite(void);
Suite *fsm_suite(void)
{
    Suite *s = suite_create("smtp.fsm");
    TCase *t = tcase_create("fsm");

    tcase_add_loop_test(t, feed, 0, COUNT(steps));
    tcase_add_test(t, rows_that_are_taken_are_shown);
    tcase_add_test(t, long_table);
    tcase_add_test(t, drawing);
    tcase_add_test(t, drawing_of_a_crowd);
    tcase_add_loop_test(t, proofs, 0, COUNT(faults));
    suite_add_tcase(s, t);
    return s;
}
