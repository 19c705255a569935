/* test_send_session_ends.c - a session's ends, long texts, and what comes at
 * other times than usual. */
#include "session_rig.h"

#include <check.h>

#define GROUP MAIL, R0, "C DATA"
#define SENT MAIL, R0, "B"
#define TAKEN OK, OK, OK
#define ONE PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", OK
#define NO "S 503 no"
#define ALL "R 8388629"

/* clang-format off */
static const struct end_dialogue {
    struct dialogue d;
    struct around around;
} ends[] = {
    /* stopped before there is anything in hand */
    { { "stop while connecting", 1, 1, "00;", GOES_ON, 0, { "E" } },
      { .act = 's', .in = S_DIAL } },
    { { "stop at the greeting", 1, 1, "00;", GOES_ON, 0, { "P", "E" } },
      { .act = 's', .in = S_GREET } },
    { { "stop at EHLO", 1, 1, "00;", GOES_ON, 0, { "S 220 hello", "P", "E" } },
      { .act = 's', .in = S_EHLO } },
    { { "stop at HELO", 1, 1, "00;", GOES_ON, 0,
        { "S 220 hello", "C EHLO me.test", "S 500 what?", "P", "E" } },
      { .act = 's', .in = S_HELO } },
    { { "stop while idle", 1, 1, "+250;", GOES_ON, 1, { ONE, QUIT } },
      { .linger = 1, .act = 's', .in = S_IDLE } },
    /* turned away */
    { { "4xx greeting", 1, 1, "m0;", SHUTS, 0, { "S 450 no", QUIT } },
      { .end = "" } },
    { { "4xx at EHLO", 1, 1, "m0;", SHUTS, 0, { EHLO, "S 450 no", QUIT } },
      { .end = "" } },
    { { "4xx at HELO", 1, 1, "m0;", SHUTS, 0,
        { EHLO, "S 500 what?", "C HELO me.test", "S 450 no", QUIT } },
      { .end = "" } },
    { { "5xx at HELO", 1, 1, "m0;", SHUTS, 0,
        { EHLO, "S 500 what?", "C HELO me.test", "S 550 no", QUIT } },
      { .end = "" } },
    { { "4xx to RSET", 2, 1, "!550;00;", LOST, 0,
        { PLAIN, MAIL, OK, R0, "S 550 no", "C RSET", "S 450 no", QUIT } },
      { .end = "" } },
    /* idle */
    { { "it leaves when it had nothing to do", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "T", QUIT } },
      { .linger = 1 } },
    { { "it leaves when others wait", 1, 1, "+250;", GOES_ON, 1,
        { ONE, QUIT } },
      { .linger = 100, .act = 'h', .in = S_IDLE } },
    { { "another message comes", 2, 1, "+250;+250;", GOES_ON, 2,
        { ONE, MAIL, OK, R0, OK, "C DATA", GO, "D", OK, "T", QUIT } },
      { .linger = 1, .act = 'g', .in = S_IDLE } },
    { { "another than the host takes", 2, 1, "+250;00;", GOES_ON, 1,
        { ONE, QUIT } },
      { .linger = 1, .messages = 1, .act = 'g', .in = S_IDLE } },
    { { "the host leaves", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "P", "S 421 bye" } },
      { .linger = 1 } },
    { { "the host closes", 1, 1, "+250;", GOES_ON, 1, { ONE, "P", "X" } },
      { .linger = 1 } },
    { { "4xx to nothing", 1, 1, "+250;", LOST, 1,
        { ONE, "P", "S 450 what?", "H" } },
      { .linger = 1, .end = "" } },
    { { "5xx to nothing", 1, 1, "+250;", LOST, 1,
        { ONE, "P", "S 550 what?", "H" } },
      { .linger = 1, .end = "" } },
    { { "2xx to nothing", 1, 1, "+250;", LOST, 1,
        { ONE, "P", "S 250 what?", "H" } },
      { .linger = 1, .end = "" } },
    /* QUIT */
    { { "3xx to QUIT", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "C QUIT", "S 354 go" } }, { .end = "" } },
    { { "4xx to QUIT", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "C QUIT", "S 450 no" } }, { .end = "" } },
    { { "5xx to QUIT", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "C QUIT", "S 550 no" } }, { .end = "" } },
    { { "421 to QUIT", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "C QUIT", "S 421 no" } }, { .end = "" } },
    { { "nonsense to QUIT", 1, 1, "+250;", GOES_ON, 1,
        { ONE, "C QUIT", "S what?" } }, { .end = "" } },
    { { "killed at QUIT", 1, 1, "+250;", GOES_ON, 1, { ONE, "P", "H" } },
      { .act = 'k', .in = S_QUIT, .end = "" } },
    /* a message comes while another is under way */
    { { "at MAIL", 2, 1, "+250;+250;", GOES_ON, 2,
        { CHUNKS, SENT, SENT, TAKEN, TAKEN, QUIT } },
      { .act = 'g', .in = S_MAIL } },
    { { "at RCPT", 2, 1, "+250;+250;", GOES_ON, 2,
        { CHUNKS, SENT, OK, SENT, OK, OK, TAKEN, QUIT } },
      { .act = 'g', .in = S_RCPT } },
    { { "at BDAT", 2, 1, "+250;+250;", GOES_ON, 2,
        { CHUNKS, SENT, OK, OK, SENT, OK, TAKEN, QUIT } },
      { .act = 'g', .in = S_CHUNK } },
    { { "at the dot", 2, 1, "+250;+250;", GOES_ON, 2,
        { PIPE, GROUP, OK, OK, GO, "D", GROUP, OK, OK, OK, GO, "D", OK,
          QUIT } },
      { .act = 'g', .in = S_DOT } },
    /* a dot refused with the next group behind it */
    { { "4xx to the dot", 2, 1, "~451;+250;", GOES_ON, 1,
        { PIPE, GROUP, OK, OK, GO, "D", GROUP, "S 451 later", OK, OK, GO, "D",
          OK, QUIT } },
      { .end = "" } },
    { { "5xx to the dot", 2, 1, "!554;~451;", GOES_ON, 0,
        { PIPE, GROUP, OK, OK, GO, "D", GROUP, "S 554 spam", OK, OK, GO, "D",
          "S 451 later", QUIT } },
      { .end = "" } },
    { { "the empty message is taken", 1, 1, "!550;", GOES_ON, 0,
        { PIPE, GROUP, OK, "S 550 no", GO, "C .", OK, QUIT } },
      { .end = "" } },
    { { "the empty message is put off", 1, 1, "!550;", GOES_ON, 0,
        { PIPE, GROUP, OK, "S 550 no", GO, "C .", "S 451 no", QUIT } },
      { .end = "" } },
    { { "nonsense to the empty message", 1, 1, "?0;", LOST, 0,
        { PIPE, GROUP, OK, "S 550 no", GO, "C .", "S what?", "H" } },
      { .end = "lost=#0" } },
    { { "closed at the empty message", 1, 1, "!550;", LOST, 0,
        { PIPE, GROUP, OK, "S 550 no", GO, "C .", "X" } },
      { .end = "" } },
    /* long texts */
    { { "by DATA", 1, 1, "+250;", GOES_ON, 1,
        { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "P", ALL, "C .", OK, QUIT } },
      { .big = 1 } },
    { { "by BDAT, then all replies", 1, 1, "+250;", GOES_ON, 1,
        { CHUNKS, SENT_BIG, ALL, TAKEN, QUIT } },
      { .big = 1 } },
    { { "by BDAT, MAIL replied to before", 1, 1, "+250;", GOES_ON, 1,
        { CHUNKS, SENT_BIG, OK, ALL, OK, OK, QUIT } },
      { .big = 1 } },
    { { "by BDAT, RCPT too", 1, 1, "+250;", GOES_ON, 1,
        { CHUNKS, SENT_BIG, OK, OK, ALL, OK, QUIT } },
      { .big = 1 } },
    { { "4xx before its end, by DATA", 2, 1, "~451;00;", GOES_ON, 0,
        { PIPE, GROUP, OK, OK, GO, "P", "S 451 later", "H" } },
      { .big = 1, .end = "" } },
    { { "5xx before its end, by DATA", 2, 1, "!554;00;", GOES_ON, 0,
        { PIPE, GROUP, OK, OK, GO, "P", "S 554 no", "H" } },
      { .big = 1, .end = "" } },
    { { "2xx before its end, by DATA", 2, 1, "?0;00;", LOST, 0,
        { PIPE, GROUP, OK, OK, GO, "P", OK, "H" } },
      { .big = 1, .end = "lost=#0" } },
    { { "4xx before its end", 2, 1, "~451;00;", GOES_ON, 0,
        { CHUNKS, SENT_BIG, OK, OK, "S 451 later", "H" } },
      { .big = 1, .end = "" } },
    { { "5xx before its end", 2, 1, "!554;00;", GOES_ON, 0,
        { CHUNKS, SENT_BIG, OK, OK, "S 554 no", "H" } },
      { .big = 1, .end = "" } },
    { { "2xx before its end", 2, 1, "?0;00;", LOST, 0,
        { CHUNKS, SENT_BIG, TAKEN, "H" } },
      { .big = 1, .end = "lost=#0" } },
    { { "nonsense before its end", 2, 1, "?0;00;", LOST, 0,
        { CHUNKS, SENT_BIG, OK, OK, "S what?", "H" } },
      { .big = 1, .end = "lost=#0" } },
    { { "BDAT is unknown: no more of it", 2, 1, "a0;00;", LEAVES, 0,
        { CHUNKS, SENT_BIG, OK, OK, "S 500 what?", "H" } },
      { .big = 1, .end = "bdat=broken" } },
    { { "nor of the one behind", 2, 1, "a0;00;", LEAVES, 0,
        { CHUNKS, SENT, SENT_BIG, OK, OK, "S 500 what?", "H" } },
      { .big = 2, .end = "bdat=broken" } },
    { { "closed before its end, it worked before", 1, 1, "?0;", LOST, 0,
        { CHUNKS, SENT_BIG, OK, OK, "X" } },
      { .big = 1, .limits = { .chunking = CHUNKING_WORKS } } },
    /* rot */
    { { "rot is not sent by DATA", 1, 1, "w0;", CUTS, 0,
        { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "E" } },
      { .rotten = 1, .end = "" } },
    { { "rot is not sent by BDAT", 1, 1, "w0;", CUTS, 0,
        { CHUNKS, "E" } },
      { .rotten = 1, .end = "" } },
    { { "nor what is behind it", 2, 1, "w0;00;", CUTS, 0,
        { PIPE, GROUP, OK, OK, GO, "E" } },
      { .rotten = 1, .end = "" } },
    { { "rot found at RCPT", 2, 1, "w0;00;", CUTS, 0,
        { CHUNKS, SENT_BIG, OK, "H" } },
      { .big = 1, .rotten = 1, .end = "" } },
    { { "rot found at BDAT", 2, 1, "w0;00;", CUTS, 0,
        { CHUNKS, SENT_BIG, OK, OK, "H" } },
      { .big = 1, .rotten = 1, .end = "" } },
    /* settling */
    { { "354 to RCPT, nonsense at BDAT", 3, 1, "?0;00;+250;", LOST, 1,
        { CHUNKS, SENT, SENT, SENT, OK, GO, OK, OK, OK, "S what?", TAKEN,
          QUIT } },
      { .end = "lost=#0" } },
    { { "nonsense to BDAT", 2, 1, "?0;+250;", LOST, 1,
        { CHUNKS, SENT, SENT, OK, OK, "S what?", TAKEN, QUIT } },
      { .end = "lost=#0" } },
    { { "354 and 421 behind", 3, 1, "?0;00;00;", LOST, 0,
        { CHUNKS, SENT, SENT, SENT, OK, OK, "S what?", GO, OK, OK, OK, OK,
          "S 421 no" } },
      { .end = "lost=#0" } },
    { { "the rest of a text, then QUIT", 2, 1, "?0;+250;", LOST, 1,
        { CHUNKS, SENT, SENT_BIG, "S what?", OK, OK, ALL, TAKEN, QUIT } },
      { .big = 2, .end = "lost=#0" } },
    { { "a text taken before its end is not", 2, 1, "?0;00;", LOST, 0,
        { CHUNKS, SENT, SENT_BIG, "S what?", OK, OK, TAKEN, "P", ALL,
          QUIT } },
      { .big = 2, .end = "lost=#0" } },
    { { "killed", 2, 1, "?0;00;", LOST, 0,
        { CHUNKS, SENT, SENT, "S what?", OK, OK, TAKEN, "H" } },
      { .act = 'k', .in = S_SETTLE, .end = "lost=#0" } },
    { { "the rest is rot", 2, 1, "?0;00;", LOST, 0,
        { CHUNKS, SENT, SENT_BIG, "S what?", OK, OK, OK, "H" } },
      { .big = 2, .rotten = 2, .end = "lost=#0" } },
};
/* clang-format on */

START_TEST(session_ends)
{
    session_rig_run(&ends[_i].d, &ends[_i].around);
}
END_TEST

Suite *send_session_ends_suite(void);
Suite *send_session_ends_suite(void)
{
    Suite *s = suite_create("send.session_ends");
    TCase *t = tcase_create("ends");

    tcase_add_loop_test(t, session_ends, 0,
                        (int)(sizeof ends / sizeof ends[0]));
    tcase_set_timeout(t, 30);
    suite_add_tcase(s, t);
    return s;
}
