/* test_send_session_tls.c - STARTTLS that is refused, missing or broken.  That
 * it works is for tests/system/test_send_tls.py. */
#include "session_rig.h"

#include "send/session_actions.h"
#include "send/session_fault.h"

#include <check.h>
#include <errno.h>

#define OFFER EHLO, "S 250-hi", "S 250-PIPELINING", "S 250 STARTTLS"
#define ASK OFFER, "C STARTTLS"
#define MAY                                                                    \
    {                                                                          \
        .tls = true, .level = CONF_TLS_MAY, .end = "clear"                     \
    }
#define VERIFY                                                                 \
    {                                                                          \
        .tls = true, .level = CONF_TLS_VERIFY, .end = "clear"                  \
    }
#define NO_TLS "S 220 go", "R 5", "S this is no TLS at all, whatever it is"

/* clang-format off */
static const struct tls_dialogue {
    struct dialogue d;
    struct around around;
} cases[] = {
    { { "refused for now", 2, 1, "00;00;", LEAVES, 0,
        { ASK, "S 454 4.7.0 no", QUIT } }, MAY },
    { { "refused", 1, 1, "00;", LEAVES, 0, { ASK, "S 502 no", QUIT } }, MAY },
    { { "421", 1, 1, "00;", LEAVES, 0, { ASK, "S 421 no", "E" } }, MAY },
    { { "closed", 1, 1, "00;", LEAVES, 0, { ASK, "X" } }, MAY },
    { { "silence", 1, 1, "00;", LEAVES, 0, { ASK, "T", "H" } }, MAY },
    { { "no reply", 1, 1, "00;", LEAVES, 0, { ASK, "S go ahead", "E" } },
      MAY },
    { { "354", 1, 1, "00;", LEAVES, 0, { ASK, "S 354 go", "E" } }, MAY },
    { { "no TLS behind 220", 1, 1, "00;", LEAVES, 0, { ASK, NO_TLS, "H" } },
      MAY },
    { { "closed behind 220", 1, 1, "00;", LEAVES, 0,
        { ASK, "S 220 go", "X" } }, MAY },
    { { "silence behind 220", 1, 1, "00;", LEAVES, 0,
        { ASK, "S 220 go", "T", "H" } }, MAY },
    /* never in clear */
    { { "refused, verify", 1, 2, "x0 x0;", LEAVES, 0,
        { ASK, "S 454 4.7.0 no", QUIT } }, VERIFY },
    { { "closed, verify", 1, 1, "x0;", LEAVES, 0, { ASK, "X" } }, VERIFY },
    { { "no reply, verify", 1, 1, "x0;", LEAVES, 0,
        { ASK, "S go ahead", "E" } }, VERIFY },
    { { "no TLS, verify", 2, 1, "x0;x0;", LEAVES, 0, { ASK, NO_TLS, "H" } },
      VERIFY },
    { { "not offered", 2, 1, "x0;x0;", GOES_ON, 0, { PIPE, QUIT } },
      { .tls = true, .level = CONF_TLS_ENCRYPT, .end = "" } },
    { { "not offered by HELO", 1, 1, "x0;", GOES_ON, 0,
        { EHLO, "S 500 what?", "C HELO me.test", "S 250 hi", QUIT } },
      { .tls = true, .level = CONF_TLS_ENCRYPT, .end = "" } },
    { { "not offered, with CHUNKING", 2, 1, "x0;x0;", GOES_ON, 0,
        { CHUNKS, QUIT } },
      { .tls = true, .level = CONF_TLS_VERIFY, .end = "" } },
    { { "not offered, may", 1, 1, "+250;", GOES_ON, 1,
        { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "D", OK, QUIT } },
      { .tls = true, .level = CONF_TLS_MAY, .end = "" } },
    /* in a session that was opened for mail in clear */
    { { "another profile", 2, 2, "f0 f0;f0 f0;", GOES_ON, 0, { OFFER, QUIT } },
      { .level = CONF_TLS_ENCRYPT, .end = "" } },
    { { "in clear, and may", 1, 1, "+250;", GOES_ON, 1,
        { OFFER, MAIL, R0, "C DATA", OK, OK, GO, "D", OK, QUIT } },
      { .level = CONF_TLS_MAY, .end = "" } },
    /* it is not the host's fault */
    { { "stop at STARTTLS", 1, 1, "00;", GOES_ON, 0, { OFFER, "E" } },
      { .tls = true, .level = CONF_TLS_MAY, .act = 's', .in = S_STARTTLS,
        .end = "" } },
    { { "stop in the handshake", 1, 1, "00;", GOES_ON, 0,
        { ASK, "S 220 go", "P", "H" } },
      { .tls = true, .level = CONF_TLS_MAY, .act = 's', .in = S_HANDSHAKE,
        .end = "" } },
    { { "interrupted in the handshake", 1, 1, "00;", LOST, 0,
        { ASK, "S 220 go", "P", "H" } },
      { .tls = true, .level = CONF_TLS_VERIFY, .act = 'k', .in = S_HANDSHAKE,
        .end = "" } },
};
/* clang-format on */

START_TEST(dialogue_goes)
{
    session_rig_run(&cases[_i].d, &cases[_i].around);
}
END_TEST

START_TEST(own_memory_is_no_reason_for_clear_text)
{
    static struct send_session s;

    s.was = S_HANDSHAKE;
    s.event = E_CLOSED;
    s.tls.may = true;
    s.conn.error = ECONNRESET;
    ck_assert_int_eq(send_session_judge(&s, NULL)->whose, WHOSE_PROFILE);
    s.conn.error = ENOBUFS;
    ck_assert_int_eq(send_session_judge(&s, NULL)->whose, WHOSE_US);
}
END_TEST

/* TLS came first: the host cannot be reached, and has no clear text. */
START_TEST(at_a_port_of_its_own)
{
    static struct send_session s;
    const int errors[] = { EPROTO, ECONNRESET, 0 };

    s.was = S_WRAP;
    s.event = E_CLOSED;
    s.tls.may = true;
    s.conn.error = errors[_i];
    addr_from_v4(&s.peer, "\x7f\0\0\1", 465);
    ck_assert(send_guard_is_tls_first(&s));
    ck_assert_int_eq(send_session_judge(&s, NULL)->whose, WHOSE_ADDRESS);
    s.conn.error = ENOBUFS;
    ck_assert_int_eq(send_session_judge(&s, NULL)->whose, WHOSE_US);
    addr_set_port(&s.peer, 587);
    ck_assert(!send_guard_is_tls_first(&s));
}
END_TEST

Suite *send_session_tls_suite(void);
Suite *send_session_tls_suite(void)
{
    Suite *s = suite_create("send.session_tls");
    TCase *t = tcase_create("dialogues");

    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, dialogue_goes, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, own_memory_is_no_reason_for_clear_text);
    tcase_add_loop_test(t, at_a_port_of_its_own, 0, 3);
    suite_add_tcase(s, t);
    return s;
}
