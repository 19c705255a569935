/* test_send_lmtp.c - sessions with an LMTP host (RFC 2033): a reply for each
 * recipient. */
#include "session_rig.h"

#include <check.h>

#define LHLO "S 220 hello", "C LHLO me.test"
#define LPLAIN LHLO, "S 250 hi"
#define LPIPE LHLO, "S 250-hi", "S 250 PIPELINING"
#define ALL_TAKEN OK, OK, OK, OK, GO, "D"
#define OPEN MAIL, R0, R1, R2, "C DATA"

/* clang-format off */
static const struct dialogue dialogues[] = {
    { "one recipient", 1, 1, "+250;", GOES_ON, 1,
      { LPLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", OK, QUIT } },
    { "a reply each", 1, 3, "+250 +250 +250;", GOES_ON, 1,
      { LPIPE, OPEN, ALL_TAKEN, OK, OK, OK, QUIT } },
    { "each has its own reply", 1, 3, "+250 ~452 !552;", GOES_ON, 0,
      { LPIPE, OPEN, ALL_TAKEN, OK, "S 452 4.2.2 over quota",
        "S 552 5.2.2 over quota", QUIT } },
    { "the first fails", 1, 3, "!550 +250 +250;", GOES_ON, 1,
      { LPIPE, OPEN, ALL_TAKEN, "S 550 no", OK, OK, QUIT } },
    { "replies of those alone that were taken", 1, 3, "+250 !550 ~451;",
      GOES_ON, 0,
      { LPIPE, OPEN, OK, OK, "S 550 no", OK, GO, "D", OK, "S 451 later",
        QUIT } },
    { "without PIPELINING", 1, 2, "+250 ~451;", GOES_ON, 0,
      { LPLAIN, MAIL, OK, R0, OK, R1, OK, "C DATA", GO, "D", OK, "S 451 later",
        QUIT } },
    { "the next group comes with the dot", 2, 3,
      "+250 +250 ~451;+250 +250 +250;", GOES_ON, 1,
      { LPIPE, OPEN, ALL_TAKEN, OPEN, OK, OK, "S 451 later", ALL_TAKEN, OK, OK,
        OK, QUIT } },
    { "all refused", 1, 3, "!550 !550 !550;", GOES_ON, 0,
      { LPIPE, OPEN, OK, "S 550 no", "S 550 no", "S 550 no", "S 503 none",
        "C RSET", OK, QUIT } },
    { "DATA refused", 1, 3, "!554 !554 !554;", GOES_ON, 0,
      { LPIPE, OPEN, OK, OK, OK, OK, "S 554 no", "C RSET", OK, QUIT } },
    { "no BDAT, though it is offered", 1, 1, "+250;", GOES_ON, 1,
      { LHLO, "S 250-hi", "S 250-PIPELINING", "S 250 CHUNKING", MAIL, R0,
        "C DATA", OK, OK, GO, "D", OK, QUIT } },
    { "gone before the last reply", 1, 3, "+250 !550 ~0;", LOST, 0,
      { LPIPE, OPEN, ALL_TAKEN, OK, "S 550 no", "X" } },
    { "gone before all replies", 1, 2, "~0 ~0;", LOST, 0,
      { LPIPE, MAIL, R0, R1, "C DATA", OK, OK, OK, GO, "D", "X" } },
    { "421 in the place of a reply", 1, 3, "+250 ~421 ~421;", LOST, 0,
      { LPIPE, OPEN, ALL_TAKEN, OK, "S 421 going down", "E" } },
    { "no reply in the place of one", 1, 3, "+250 ?0 ?0;", LOST, 0,
      { LPIPE, OPEN, ALL_TAKEN, OK, "S what?", "E" } },
    { "it does not know LHLO", 1, 1, "m0;", SHUTS, 0,
      { LHLO, "S 500 what?", QUIT } },
    { "it is busy", 1, 1, "m0;", SHUTS, 0,
      { LHLO, "S 451 later", QUIT } },
};
/* clang-format on */

START_TEST(plays)
{
    struct around around = { .limits = { .lmtp = true, .configured = true },
                             .configured = true };

    session_rig_run(&dialogues[_i], &around);
}
END_TEST

Suite *send_lmtp_suite(void);
Suite *send_lmtp_suite(void)
{
    Suite *s = suite_create("send_lmtp");
    TCase *t = tcase_create("dialogues");

    tcase_add_loop_test(t, plays, 0, sizeof dialogues / sizeof dialogues[0]);
    suite_add_tcase(s, t);
    return s;
}
