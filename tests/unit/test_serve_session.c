/* test_serve_session.c - proofs about the server's table. */
#include "serve/session.h"

#include <check.h>

#include "fsm_check.h"

START_TEST(every_event_has_an_answer)
{
    const char *why = fsm_check_total(&serve_session_fsm);

    ck_assert_msg(why == NULL, "%s", why);
}
END_TEST

START_TEST(every_state_is_reached_and_ends)
{
    const char *why = fsm_check_connected(&serve_session_fsm);

    ck_assert_msg(why == NULL, "%s", why);
}
END_TEST

START_TEST(names_are_complete)
{
    const struct fsm *m = &serve_session_fsm;

    for (unsigned s = 0; s < m->nstates; s++)
        ck_assert_msg(m->state_names[s] != NULL, "state %u", s);
    for (unsigned e = 0; e < m->nevents; e++)
        ck_assert_msg(m->event_names[e] != NULL, "event %u", e);
}
END_TEST

Suite *serve_session_suite(void);
Suite *serve_session_suite(void)
{
    Suite *s = suite_create("serve.session");
    TCase *t = tcase_create("table");

    tcase_add_test(t, every_event_has_an_answer);
    tcase_add_test(t, every_state_is_reached_and_ends);
    tcase_add_test(t, names_are_complete);
    suite_add_tcase(s, t);
    return s;
}
