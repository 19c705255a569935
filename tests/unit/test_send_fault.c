/* test_send_fault.c - the table "whose fault is it?", a case a row and more. */
#include "send/fault.h"

#include <check.h>

#define R(code, class, subject, detail)                                        \
    {                                                                          \
        (code), (class), (subject), (detail)                                   \
    }
#define S(c, ...) .status = R(c, __VA_ARGS__)
/* Read as a rate, by its code or in words. */
#define PACE(code) .refusal = { REFUSAL_RATE, (code), false, 0 }
#define BEHIND(code) .refusal = { REFUSAL_RATE, (code), true, 0 }
#define STOP .refusal = { REFUSAL_BLOCKED, false, false, 0 }
#define F(at, came, ...)                                                       \
    {                                                                          \
        .when = FAULT_##at, .what = FAULT_##came, __VA_ARGS__                  \
    }

/* clang-format off */
static const struct {
    struct fault f;
    enum fault_whose whose;
    enum fault_mail mail;
    enum fault_lane lane;
} cases[] = {
    { F(CONNECT, DROP, .status = { 0 }), WHOSE_ADDRESS, MAIL_MOVES_ON, LANE_SHUTS },
    { F(CONNECT, SILENCE, .status = { 0 }), WHOSE_ADDRESS, MAIL_MOVES_ON, LANE_SHUTS },
    { F(GREETING, 4XX, S(450, 0, 0, 0)), WHOSE_HOST, MAIL_MOVES_ON, LANE_SHUTS },
    { F(GREETING, 5XX, S(554, 0, 0, 0)), WHOSE_HOST, MAIL_MOVES_ON, LANE_SHUTS },
    { F(GREETING, 421, S(421, 4, 3, 0)), WHOSE_HOST, MAIL_MOVES_ON, LANE_SHUTS },
    { F(GREETING, 421, S(421, 4, 7, 0), PACE(true)), WHOSE_PACE, MAIL_MOVES_ON, LANE_SLOWS },
    { F(GREETING, 421, S(421, 0, 0, 0), PACE(false)), WHOSE_PACE, MAIL_MOVES_ON, LANE_SLOWS },
    /* nothing is taken from our address */
    { F(GREETING, 5XX, S(554, 0, 0, 0), STOP), WHOSE_PACE, MAIL_MOVES_ON, LANE_STOPS },
    { F(EHLO, 5XX, S(554, 5, 7, 1), STOP), WHOSE_PACE, MAIL_MOVES_ON, LANE_STOPS },
    { F(MAIL, 5XX, S(550, 5, 7, 1), STOP, .delivered = true), WHOSE_PACE, MAIL_ATTEMPT, LANE_STOPS },
    { F(RCPT, 5XX, S(554, 5, 7, 1), STOP), WHOSE_PACE, MAIL_ATTEMPT, LANE_LEAVES },
    { F(END, 5XX, S(554, 5, 7, 1), STOP), WHOSE_PACE, MAIL_ATTEMPT, LANE_LEAVES },
    /* of a host behind the one that replies */
    { F(RCPT, 4XX, S(450, 4, 7, 1), BEHIND(false)), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    { F(RCPT, 4XX, S(451, 4, 7, 500), BEHIND(true)), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    { F(END, 4XX, S(450, 4, 7, 1), BEHIND(false)), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_GOES_ON },
    { F(RCPT, 421, S(421, 4, 7, 0), BEHIND(true)), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_REOPENS },
    { F(GREETING, NONSENSE, .status = { 0 }), WHOSE_HOST, MAIL_MOVES_ON, LANE_SHUTS },
    { F(GREETING, OWN_NAME, .status = { 0 }), WHOSE_US, MAIL_LOOPS, LANE_LEAVES },
    { F(EHLO, DROP, .status = { 0 }), WHOSE_HOST, MAIL_MOVES_ON, LANE_SHUTS },
    { F(EHLO, 5XX, S(550, 5, 7, 1)), WHOSE_HOST, MAIL_MOVES_ON, LANE_SHUTS },
    /* TLS */
    { F(TLS, 4XX, S(454, 4, 7, 0), .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, 5XX, S(502, 0, 0, 0), .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, DROP, .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, NONSENSE, .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, 421, S(421, 4, 7, 0)), WHOSE_PROFILE, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(TLS, SILENCE, .status = { 0 }), WHOSE_PROFILE, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(TLS, NOT_OFFERED, .status = { 0 }), WHOSE_PROFILE, MAIL_SHUT_OUT, LANE_GOES_ON },
    { F(TLS, CERTIFICATE, .status = { 0 }), WHOSE_DELIVERY, MAIL_SHUT_OUT, LANE_GOES_ON },
    { F(MAIL, RECORD, .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(DATA, RECORD, .status = { 0 }), WHOSE_PROFILE, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(EHLO, RECORD, .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(AUTH, RECORD, .status = { 0 }), WHOSE_PROFILE, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(RSET, RECORD, .may = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, DROP, .may = true, .resumes = true), WHOSE_TICKET, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, RECORD, .resumes = true), WHOSE_TICKET, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, 4XX, S(454, 4, 7, 0), .may = true, .resumes = true), WHOSE_PROFILE, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(TLS, OURS, .may = true), WHOSE_US, MAIL_UNTOUCHED, LANE_REOPENS },
    /* AUTH */
    { F(AUTH, 5XX, S(535, 5, 7, 8)), WHOSE_SETTING, MAIL_NO_LOGIN, LANE_LEAVES },
    { F(AUTH, 4XX, S(454, 4, 7, 0)), WHOSE_LOGIN, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(AUTH, 4XX, S(454, 4, 7, 0), .token = true), WHOSE_SETTING, MAIL_NO_LOGIN, LANE_LEAVES },
    { F(AUTH, 421, S(421, 4, 7, 0)), WHOSE_LOGIN, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(AUTH, DROP, .status = { 0 }), WHOSE_LOGIN, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(AUTH, SILENCE, .token = true), WHOSE_LOGIN, MAIL_SHUT_OUT, LANE_LEAVES },
    { F(AUTH, NONSENSE, .status = { 0 }), WHOSE_SETTING, MAIL_NO_LOGIN, LANE_LEAVES },
    { F(AUTH, OURS, .status = { 0 }), WHOSE_US, MAIL_UNTOUCHED, LANE_REOPENS },
    /* a login is asked for: only where the next hop is a setting */
    { F(MAIL, 5XX, S(530, 5, 7, 0), .configured = true), WHOSE_SETTING, MAIL_WAITS, LANE_GOES_ON },
    { F(RCPT, 5XX, S(535, 5, 7, 8), .configured = true), WHOSE_SETTING, MAIL_WAITS, LANE_GOES_ON },
    { F(MAIL, 5XX, S(530, 5, 7, 0)), WHOSE_MESSAGE, MAIL_BOUNCES, LANE_GOES_ON },
    /* rate codes stand above the others */
    { F(MAIL, 421, S(421, 4, 7, 28), PACE(true), .delivered = true), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    { F(RCPT, 4XX, S(451, 4, 7, 650), PACE(true)), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    { F(END, 421, S(421, 4, 7, 0), PACE(true)), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    { F(END, 4XX, S(450, 4, 3, 2), PACE(true)), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    { F(DATA, 5XX, S(550, 4, 7, 28), PACE(true)), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    { F(RCPT, 4XX, S(450, 4, 7, 1)), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    { F(RCPT, 4XX, S(451, 4, 7, 0)), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    /* in words: a limit of the session may say the same */
    { F(MAIL, 421, S(421, 4, 3, 0), PACE(false), .delivered = true), WHOSE_LIMIT, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(MAIL, 421, S(421, 4, 3, 0), PACE(false)), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    { F(RCPT, 4XX, S(450, 4, 7, 1), PACE(false), .delivered = true), WHOSE_PACE, MAIL_ATTEMPT, LANE_SLOWS },
    /* MAIL */
    { F(MAIL, 4XX, S(452, 4, 5, 3), .delivered = true), WHOSE_LIMIT, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(MAIL, 421, S(421, 4, 3, 0), .delivered = true), WHOSE_LIMIT, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(MAIL, DROP, .delivered = true, .unanswered = true), WHOSE_LIMIT, MAIL_UNTOUCHED, LANE_REOPENS },
    { F(MAIL, SILENCE, .delivered = true, .unanswered = true), WHOSE_MESSAGE, MAIL_SUSPECT, LANE_REOPENS },
    { F(MAIL, DROP, .unanswered = true), WHOSE_MESSAGE, MAIL_SUSPECT, LANE_REOPENS },
    { F(MAIL, 4XX, S(450, 4, 1, 8)), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_GOES_ON },
    { F(MAIL, 421, S(421, 0, 0, 0)), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_REOPENS },
    { F(MAIL, 5XX, S(553, 5, 1, 7), .delivered = true), WHOSE_MESSAGE, MAIL_BOUNCES, LANE_GOES_ON },
    /* RCPT */
    { F(RCPT, 4XX, S(452, 4, 5, 3), .some_taken = true), WHOSE_LIMIT, MAIL_AGAIN, LANE_LEARNS },
    { F(RCPT, 4XX, S(452, 0, 0, 0), .some_taken = true), WHOSE_LIMIT, MAIL_AGAIN, LANE_LEARNS },
    { F(RCPT, 4XX, S(450, 4, 5, 3), .some_taken = true), WHOSE_LIMIT, MAIL_AGAIN, LANE_LEARNS },
    { F(RCPT, 5XX, S(550, 5, 5, 3), .some_taken = true), WHOSE_LIMIT, MAIL_AGAIN, LANE_LEARNS },
    { F(RCPT, 5XX, S(550, 5, 5, 3)), WHOSE_RECIPIENT, MAIL_BOUNCES, LANE_GOES_ON },
    { F(RCPT, 5XX, S(552, 0, 0, 0), .some_taken = true), WHOSE_LIMIT, MAIL_AGAIN, LANE_LEARNS },
    { F(RCPT, 4XX, S(452, 4, 5, 3)), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    { F(RCPT, 4XX, S(452, 4, 2, 2), .some_taken = true), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    { F(RCPT, 5XX, S(552, 5, 2, 2)), WHOSE_RECIPIENT, MAIL_NEXT_MX, LANE_GOES_ON },
    { F(RCPT, 5XX, S(550, 5, 1, 1)), WHOSE_RECIPIENT, MAIL_BOUNCES, LANE_GOES_ON },
    { F(RCPT, 421, S(421, 0, 0, 0), .delivered = true), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_REOPENS },
    { F(RCPT, DROP, .delivered = true), WHOSE_MESSAGE, MAIL_SUSPECT, LANE_REOPENS },
    /* the text */
    { F(END, 5XX, S(503, 0, 0, 0), .chunked = true, .some_taken = true), WHOSE_CHUNKING, MAIL_AGAIN, LANE_LEAVES },
    { F(TEXT, 5XX, S(500, 0, 0, 0), .chunked = true, .some_taken = true), WHOSE_CHUNKING, MAIL_AGAIN, LANE_LEAVES },
    { F(END, 5XX, S(503, 0, 0, 0), .chunked = true, .some_taken = true, .chunks_work = true), WHOSE_MESSAGE, MAIL_BOUNCES, LANE_GOES_ON },
    { F(END, 5XX, S(503, 0, 0, 0), .chunked = true), WHOSE_MESSAGE, MAIL_BOUNCES, LANE_GOES_ON },
    { F(TEXT, DROP, .chunked = true, .some_taken = true), WHOSE_CHUNKING, MAIL_AGAIN, LANE_REOPENS },
    { F(TEXT, DROP, .chunked = true, .some_taken = true, .chunks_work = true), WHOSE_MESSAGE, MAIL_SUSPECT, LANE_REOPENS },
    { F(END, 4XX, S(452, 4, 2, 2), .lmtp = true, .configured = true), WHOSE_RECIPIENT, MAIL_ATTEMPT, LANE_GOES_ON },
    { F(END, 5XX, S(550, 5, 1, 1), .lmtp = true, .configured = true), WHOSE_RECIPIENT, MAIL_BOUNCES, LANE_GOES_ON },
    { F(DATA, 4XX, S(451, 4, 3, 0)), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_GOES_ON },
    { F(END, 5XX, S(554, 5, 7, 1)), WHOSE_MESSAGE, MAIL_BOUNCES, LANE_GOES_ON },
    { F(END, 421, S(421, 0, 0, 0)), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_REOPENS },
    { F(END, DROP, .status = { 0 }), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_REOPENS },
    { F(END, SILENCE, .status = { 0 }), WHOSE_MESSAGE, MAIL_ATTEMPT, LANE_REOPENS },
    { F(END, NONSENSE, .status = { 0 }), WHOSE_MESSAGE, MAIL_SUSPECT, LANE_REOPENS },
    { F(TEXT, SILENCE, .status = { 0 }), WHOSE_MESSAGE, MAIL_SUSPECT, LANE_REOPENS },
    { F(RSET, 4XX, S(451, 0, 0, 0)), WHOSE_HOST, MAIL_UNTOUCHED, LANE_REOPENS },
    /* beyond one session */
    { F(SESSIONS, THREE_LOST, .status = { 0 }), WHOSE_HOST, MAIL_KEEPS, LANE_SHUTS },
    { F(SESSIONS, TWO_MAILS, .status = { 0 }), WHOSE_HOST, MAIL_KEEPS, LANE_SHUTS },
    { F(LOOK_UP, NO_ANSWER, .configured = true), WHOSE_RESOLVER, MAIL_ROUND, LANE_GOES_ON },
    { F(LOOK_UP, NO_HOST, .configured = true), WHOSE_SETTING, MAIL_WAITS, LANE_GOES_ON },
    { F(LOOK_UP, NO_HOST, .status = { 0 }), WHOSE_RECIPIENT, MAIL_BOUNCES, LANE_GOES_ON },
    { F(LOOK_UP, NO_ANSWER, .status = { 0 }), WHOSE_RESOLVER, MAIL_ROUND, LANE_GOES_ON },
    { F(LOOK_UP, UNUSABLE, .configured = true), WHOSE_SETTING, MAIL_WAITS, LANE_GOES_ON },
    { F(LOOK_UP, UNUSABLE, .status = { 0 }), WHOSE_RESOLVER, MAIL_ROUND, LANE_GOES_ON },
    { F(LOOK_UP, OWN_NAME, .configured = true), WHOSE_SETTING, MAIL_WAITS, LANE_GOES_ON },
    { F(LOOK_UP, OWN_NAME, .status = { 0 }), WHOSE_RECIPIENT, MAIL_BOUNCES, LANE_GOES_ON },
    { F(CONNECT, OURS, .status = { 0 }), WHOSE_US, MAIL_UNTOUCHED, LANE_REOPENS },
    { F(END, OURS, .delivered = true), WHOSE_US, MAIL_UNTOUCHED, LANE_REOPENS },
    { F(MAIL, 5XX, S(503, 5, 5, 1), .leaving = true), WHOSE_LIMIT, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(MAIL, 4XX, S(450, 4, 7, 28), .leaving = true), WHOSE_LIMIT, MAIL_UNTOUCHED, LANE_LEAVES },
    { F(RCPT, 5XX, S(550, 5, 1, 1), .leaving = true), WHOSE_RECIPIENT, MAIL_BOUNCES, LANE_GOES_ON },
    { F(QUEUE, UNREADABLE, .status = { 0 }), WHOSE_US, MAIL_WAITS, LANE_CUTS },
};
/* clang-format on */
enum { NCASES = sizeof cases / sizeof cases[0] };

START_TEST(is_judged)
{
    const struct fault_rule *r = fault_judge(&cases[_i].f);

    ck_assert_msg(r->whose == cases[_i].whose && r->mail == cases[_i].mail &&
                      r->lane == cases[_i].lane,
                  "case %d: whose %d, mail %d, lane %d", _i, r->whose, r->mail,
                  r->lane);
}
END_TEST

/* Each rule but the last, which stands for a hole, judges a case of ours. */
START_TEST(every_rule_is_used)
{
    unsigned n;
    const struct fault_rule *rules = fault_rules(&n);

    for (unsigned i = 0; i + 1 < n; i++) {
        bool used = false;
        for (int k = 0; k < NCASES && !used; k++)
            used = fault_judge(&cases[k].f) == &rules[i];
        ck_assert_msg(used, "rule %u (%s)", i, rules[i].name);
    }
}
END_TEST

/* What a session can meet is in the table. */
START_TEST(there_is_no_hole)
{
    static const unsigned met[] = { FAULT_4XX,  FAULT_5XX,     FAULT_421,
                                    FAULT_DROP, FAULT_SILENCE, FAULT_NONSENSE };
    unsigned n;
    const struct fault_rule *last = fault_rules(&n) + n - 1;

    for (unsigned when = FAULT_GREETING; when <= FAULT_RSET; when <<= 1)
        for (size_t i = 0; i < sizeof met / sizeof met[0]; i++)
            for (unsigned facts = 0; facts < 64; facts++) {
                struct fault f = { .when = when,
                                   .what = met[i],
                                   .delivered = facts & 1,
                                   .unanswered = facts & 2,
                                   .some_taken = facts & 4,
                                   .chunked = facts & 8,
                                   .chunks_work = facts & 16,
                                   .lmtp = facts & 32 };
                ck_assert_ptr_ne(fault_judge(&f), last);
            }
}
END_TEST

/* What a look-up can end with costs an attempt in no case. */
START_TEST(look_ups_have_no_hole)
{
    static const unsigned met[] = { FAULT_NO_ANSWER, FAULT_UNUSABLE,
                                    FAULT_NO_HOST, FAULT_OWN_NAME };

    for (size_t i = 0; i < sizeof met / sizeof met[0]; i++)
        for (int configured = 0; configured < 2; configured++) {
            struct fault f = { .when = FAULT_LOOK_UP,
                               .what = met[i],
                               .configured = configured };
            enum fault_mail mail = fault_judge(&f)->mail;
            ck_assert(mail == MAIL_ROUND || mail == MAIL_BOUNCES ||
                      mail == MAIL_WAITS);
            ck_assert(!configured || mail != MAIL_BOUNCES);
        }
}
END_TEST

Suite *send_fault_suite(void);
Suite *send_fault_suite(void)
{
    Suite *s = suite_create("send.fault");
    TCase *t = tcase_create("table");

    tcase_add_loop_test(t, is_judged, 0, NCASES);
    tcase_add_test(t, every_rule_is_used);
    tcase_add_test(t, there_is_no_hole);
    tcase_add_test(t, look_ups_have_no_hole);
    suite_add_tcase(s, t);
    return s;
}
