/* test_send_session_auth.c - AUTH that is accepted, refused or broken, as the
 * session has it; mechanisms are for test_smtp_sasl.c. */
#include "session_rig.h"

#include <check.h>

#define OFFER EHLO, "S 250-hi", "S 250-AUTH LOGIN PLAIN", "S 250 PIPELINING"
#define PLAIN_SENT OFFER, "C AUTH PLAIN AHUAcA=="
#define GOOD MAIL, R0, "C DATA", OK, OK, GO, "D", OK, QUIT
#define BY(m)                                                                  \
    {                                                                          \
        .auth = 1u << SASL_##m                                                 \
    }

/* clang-format off */
static const struct auth_dialogue {
    struct dialogue d;
    struct around around;
} cases[] = {
    { { "at once", 1, 1, "+250;", GOES_ON, 1,
        { PLAIN_SENT, "S 235 2.7.0 ok", GOOD } }, BY(PLAIN) },
    { { "behind a challenge", 1, 1, "+250;", GOES_ON, 1,
        { OFFER, "C AUTH LOGIN", "S 334 VXNlcm5hbWU6", "C dQ==",
          "S 334 UGFzc3dvcmQ6", "C cA==", "S 235 ok", GOOD } }, BY(LOGIN) },
    { { "refused", 2, 2, "n535 n535;n535 n535;", LEAVES, 0,
        { PLAIN_SENT, "S 535 5.7.8 no", QUIT } }, BY(PLAIN) },
    { { "refused for now", 1, 1, "x454;", LEAVES, 0,
        { PLAIN_SENT, "S 454 4.7.0 no", QUIT } }, BY(PLAIN) },
    { { "421", 1, 1, "x421;", LEAVES, 0, { PLAIN_SENT, "S 421 no", "E" } },
      BY(PLAIN) },
    { { "closed", 1, 1, "x0;", LEAVES, 0, { PLAIN_SENT, "X" } }, BY(PLAIN) },
    { { "silence", 1, 1, "x0;", LEAVES, 0, { PLAIN_SENT, "T", "H" } },
      BY(PLAIN) },
    { { "no reply", 1, 1, "n0;", LEAVES, 0, { PLAIN_SENT, "S welcome", "E" } },
      BY(PLAIN) },
    { { "250 is not 235", 1, 1, "n0;", LEAVES, 0,
        { PLAIN_SENT, "S 250 ok", QUIT } }, BY(PLAIN) },
    { { "354 is no challenge", 1, 1, "n0;", LEAVES, 0,
        { PLAIN_SENT, "S 354 go", "C *", "C QUIT", "S 501 no", "S 221 bye" } },
      BY(PLAIN) },
    { { "a challenge too many", 1, 1, "n0;", LEAVES, 0,
        { PLAIN_SENT, "S 334 QQ==", "C *", "C QUIT", "S 501 no",
          "S 221 bye" } }, BY(PLAIN) },
    { { "success without a proof", 1, 1, "n0;", LEAVES, 0,
        { EHLO, "S 250-hi", "S 250 AUTH SCRAM-SHA-256", "R 65", "S 235 ok",
          QUIT } }, BY(SCRAM_SHA_256) },
    { { "none of ours", 1, 1, "n0;", LEAVES, 0, { OFFER, QUIT } },
      BY(SCRAM_SHA_256) },
    { { "not offered", 1, 1, "n0;", LEAVES, 0, { PIPE, QUIT } }, BY(PLAIN) },
    { { "HELO", 1, 1, "n0;", LEAVES, 0,
        { EHLO, "S 500 what?", "C HELO me.test", "S 250 hi", QUIT } },
      BY(PLAIN) },
    { { "530 behind a login", 1, 1, "!530;", GOES_ON, 0,
        { PLAIN_SENT, "S 235 ok", MAIL, R0, "C DATA", "S 530 5.7.0 no",
          "S 503 no", "S 503 no", "C RSET", OK, QUIT } }, BY(PLAIN) },
    /* other mail */
    { { "mail without the login", 2, 1, "f0;f0;", GOES_ON, 0,
        { PLAIN_SENT, "S 235 ok", QUIT } },
      { .auth = 1u << SASL_PLAIN, .no_login = true } },
    { { "mail without the login, which is refused", 1, 1, "00;", LEAVES, 0,
        { PLAIN_SENT, "S 535 no", QUIT } },
      { .auth = 1u << SASL_PLAIN, .no_login = true } },
    { { "mail without the login, which fails", 1, 1, "00;", LEAVES, 0,
        { PLAIN_SENT, "X" } },
      { .auth = 1u << SASL_PLAIN, .no_login = true } },
    { { "mail with a login", 2, 1, "f0;f0;", GOES_ON, 0, { OFFER, QUIT } },
      { .no_login = true } },
    { { "the login may not be used in clear", 1, 2, "f0 f0;", GOES_ON, 0,
        { OFFER, QUIT } },
      { .auth = 1u << SASL_PLAIN, .login_level = CONF_TLS_VERIFY } },
    { { "it may be used in clear, and over TLS", 1, 1, "+250;", GOES_ON, 1,
        { PLAIN_SENT, "S 235 ok", GOOD } },
      { .auth = 1u << SASL_PLAIN, .login_level = CONF_TLS_MAY } },
    /* from outside */
    { { "stop", 1, 1, "00;", GOES_ON, 0, { OFFER, "P", "H" } },
      { .auth = 1u << SASL_PLAIN, .act = 's', .in = S_AUTH } },
    { { "interrupted", 1, 1, "00;", LOST, 0, { OFFER, "P", "H" } },
      { .auth = 1u << SASL_PLAIN, .act = 'k', .in = S_AUTH } },
};
/* clang-format on */

START_TEST(dialogue_goes)
{
    session_rig_run(&cases[_i].d, &cases[_i].around);
}
END_TEST

Suite *send_session_auth_suite(void);
Suite *send_session_auth_suite(void)
{
    Suite *s = suite_create("send.session_auth");
    TCase *t = tcase_create("dialogues");

    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, dialogue_goes, 0, sizeof cases / sizeof cases[0]);
    suite_add_tcase(s, t);
    return s;
}
