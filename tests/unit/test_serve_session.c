/* test_serve_session.c - the server's session, its table and dialogues.
 *
 * A dialogue is played on a socketpair, line by line:
 *   "C text"  the client sends the line      "c text"  the same without CRLF
 *   "S text"  the next line of the server begins with text
 *   "."       the server has nothing to say  "E"       it closes
 *   "H"       the client hangs up            "Z"       the process stops
 *   "A"       the check that waits passes    "R", "X"  it rejects: 550, 421
 *   "N word"  the name of the client: ok, none, temp
 *   "U"       users are known now           "T"       look-ups fail for now
 *   "Q" "F" "G"  the commit: queued, failed, disk full
 *   "W"       time passes, as nowhere else, until the server says something
 *   "Y"       the client begins TLS; lines go through it from then on
 * All around the session is a fake that answers at once, later, or fails. */
#include "base/clock.h"
#include "serve/session.h"

#include "few.h"
#include "fsm_check.h"
#include "test_clock.h"
#include "tls_peer.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* --- dialogues -------------------------------------------------------- */

enum { LINES_MAX = 48 };

/* What is different from the usual. */
enum {
    TRUSTED = 1,
    NO_ID = 2,
    DISK_FULL = 4,
    EXTRA = 8,
    EARLY_OK = 16,
    REQUIRE_NAME = 32,
    NOTE_NAME = 64,
    NO_TIME = 128,
    SLOW = 256,
    NO_RESOLVER = 512,
    MAIL_DIR_FULL = 1024,
    STARTTLS = 2048,
    CERT = 4096,
    TLS_FIRST = 8192,
    LOCAL = 16384 /* a program of this host */
};

#define HI "S 220 mx.test ESMTP"
#define EHLO                                                                   \
    HI, "C EHLO c.test", "S 250-mx.test", "S 250-PIPELINING",                  \
        "S 250-SIZE 1000", "S 250-8BITMIME", "S 250-SMTPUTF8", "S 250-DSN",    \
        "S 250 ENHANCEDSTATUSCODES"
#define EHLO_TLS                                                               \
    "C EHLO c.test", "S 250-mx.test", "S 250-PIPELINING", "S 250-SIZE 1000",   \
        "S 250-8BITMIME", "S 250-STARTTLS", "S 250-SMTPUTF8", "S 250-DSN",     \
        "S 250 ENHANCEDSTATUSCODES"
#define EHLO_SECURED                                                           \
    "C EHLO c.test", "S 250-mx.test", "S 250-PIPELINING", "S 250-SIZE 1000",   \
        "S 250-8BITMIME", "S 250-SMTPUTF8", "S 250-DSN",                       \
        "S 250 ENHANCEDSTATUSCODES"
#define EHLO_LOCAL                                                             \
    HI, "C EHLO c.test", "S 250-mx.test", "S 250-PIPELINING",                  \
        "S 250-SIZE 1000", "S 250-8BITMIME", "S 250-SMTPUTF8", "S 250-DSN",    \
        "S 250-XQUEUEONLY", "S 250 ENHANCEDSTATUSCODES"
#define READY_TLS "S 220 2.0.0 Ready to start TLS"
#define MAIL EHLO, "C MAIL FROM:<a@c.test>", "S 250 2.1.0 Ok"
#define MAIL_LOCAL EHLO_LOCAL, "C MAIL FROM:<a@c.test>", "S 250 2.1.0 Ok"
#define RCPT MAIL, "C RCPT TO:<ann@mx.test>", "S 250 2.1.5 Ok"
#define DATA RCPT, "C DATA", "S 354 End data"
#define BODY DATA, "C Subject: x", "C ", "C text", "C ."
#define QUIT "C QUIT", "S 221 2.0.0 Bye", "E"

/* clang-format off */
static const struct dialogue {
    const char *name;
    unsigned how;
    const char *waits; /* stages whose check waits: c h m r d t */
    const char *lines[LINES_MAX];
} dialogues[] = {
    { "queued", 0, "", { BODY, ".", "Q", "S 250 2.0.0 Ok: queued as ", QUIT } },
    { "commit fails", 0, "",
      { BODY, "F", "S 451 4.3.0 Error: queue file write error", QUIT } },
    { "commit on a full disk", 0, "",
      { BODY, "G", "S 452 4.3.1 Insufficient system storage", QUIT } },
    { "no id", NO_ID, "",
      { RCPT, "C DATA", "S 451 4.3.0 Error: queue file", QUIT } },
    { "full at MAIL", DISK_FULL, "",
      { EHLO, "C MAIL FROM:<>", "S 452 4.3.1 Insufficient", QUIT } },
    { "hang-up during the commit", 0, "", { BODY, ".", "H", ".", "Q", "S 250 2.0.0", "E" } },
    { "hang-up in the text", 0, "", { DATA, "C x", "H", "E" } },
    { "two messages", 0, "",
      { BODY, "Q", "S 250 2.0.0", "C MAIL FROM:<>", "S 250", "C RSET",
        "S 250 2.0.0 Ok", QUIT } },
    { "commands pipelined", 0, "",
      { EHLO, "c MAIL FROM:<>\r\nRCPT TO:<ann@mx.test>\r\nDATA\r\n", "S 250",
        "S 250", "S 354", "c .\r\nQUIT\r\n", ".", "Q", "S 250", "S 221",
        "E" } },
    /* a program of this host */
    { "NOOP and HELP on a Unix socket", LOCAL | TRUSTED, "",
      { HI, "C NOOP sendmail: unknown option -Z", "S 250 2.0.0", "C HELP",
        "S 214", QUIT } },
    { "no TLS on a Unix socket", LOCAL | TRUSTED | STARTTLS | CERT, "",
      { EHLO_LOCAL, "C STARTTLS", "S 502 5.5.1", QUIT } },
    { "mail for the next run of the queue", LOCAL | TRUSTED, "",
      { EHLO_LOCAL, "C MAIL FROM:<a@c.test> XQUEUEONLY=1", "S 555 5.5.4",
        "C MAIL FROM:<a@c.test> xqueueonly", "S 250 2.1.0 Ok", QUIT } },
    { "no such mail from a network", TRUSTED, "",
      { EHLO, "C MAIL FROM:<a@c.test> XQUEUEONLY", "S 555 5.5.4", QUIT } },
    { "no name of a client of a Unix socket is looked up",
      LOCAL | TRUSTED | NOTE_NAME, "",
      { MAIL_LOCAL, "C RCPT TO:<ann@mx.test>", "S 250 2.1.5 Ok", "C DATA",
        "S 354 End data", "C ", "C .", ".", "Q", "S 250 2.0.0 Ok: queued as ",
        QUIT } },
    { "loopback is here", LOCAL | TRUSTED, "",
      { MAIL_LOCAL, "C RCPT TO:<u@[127.0.0.1]>", "S 550 5.1.1",
        "C RCPT TO:<u@[IPv6:::1]>", "S 550 5.1.1",
        "C RCPT TO:<u@[192.0.2.9]>", "S 250 2.1.5", QUIT } },
    /* every check may wait */
    { "the banner waits", 0, "c", { ".", "A", HI, QUIT } },
    { "the banner waits, refused", 0, "c",
      { ".", "R", "S 550 5.7.1 no c", "E" } },
    { "the banner waits, early talk", 0, "c",
      { ".", "C EHLO c.test", ".", "A", "S 554 5.5.0 Error: SMTP protocol",
        "E" } },
    { "the banner waits, a relay may talk", TRUSTED, "c",
      { "C QUIT", ".", "A", HI, "S 221", "E" } },
    { "EHLO waits", 0, "h",
      { HI, "C EHLO c.test", ".", "A", "S 250-mx.test greets you" } },
    { "EHLO refused", 0, "h",
      { HI, "C EHLO c.test", "R", "S 550 5.7.1 no h", "C MAIL FROM:<>",
        "S 503 5.5.1 Error: send HELO/EHLO first", QUIT } },
    { "MAIL waits", 0, "m",
      { EHLO, "c MAIL FROM:<>\r\nRCPT TO:<ann@mx.test>\r\n", ".", "A",
        "S 250 2.1.0", "S 250 2.1.5", QUIT } },
    { "MAIL refused", 0, "m",
      { EHLO, "C MAIL FROM:<>", "R", "S 550 5.7.1 no m", QUIT } },
    { "RCPT waits", 0, "r",
      { MAIL, "C RCPT TO:<ann@mx.test>", ".", "A", "S 250 2.1.5", QUIT } },
    { "RCPT refused, the session ends", 0, "r",
      { MAIL, "C RCPT TO:<ann@mx.test>", "X", "S 421 4.7.1 gone r", "E" } },
    { "DATA waits", 0, "d", { RCPT, "C DATA", ".", "A", "S 354", "H", "E" } },
    { "DATA refused", 0, "d",
      { RCPT, "C DATA", "R", "S 550 5.7.1 no d", QUIT } },
    { "the message waits", 0, "t",
      { BODY, ".", "A", ".", "Q", "S 250 2.0.0", QUIT } },
    { "the message waits, refused", 0, "t",
      { BODY, "R", "S 550 5.7.1 no t", "C MAIL FROM:<>", "S 250", QUIT } },
    { "the message refused, the session ends", 0, "t",
      { BODY, "X", "S 421 4.7.1 gone t", "E" } },
    { "the message waits, the process stops", 0, "t",
      { BODY, ".", "Z", ".", "A", "Q", "S 250 2.0.0", "S 421 4.3.2 mx.test",
        "E" } },
    { "hang-up while a check waits", 0, "r",
      { MAIL, "C RCPT TO:<ann@mx.test>", ".", "H", ".", "A", "S 250", "E" } },
    { "stop while a check waits", 0, "r",
      { MAIL, "C RCPT TO:<ann@mx.test>", ".", "Z", "S 421 4.3.2", "E" } },
    /* reverse DNS */
    { "name required", REQUIRE_NAME, "",
      { MAIL, "C RCPT TO:<ann@mx.test>", ".", "N ok", "S 250 2.1.5",
        "C RCPT TO:<bob@mx.test>", "S 250", QUIT } },
    { "no name", REQUIRE_NAME, "",
      { MAIL, "C RCPT TO:<ann@mx.test>", ".", "N none",
        "S 550 5.7.25 Client host rejected: cannot find your reverse",
        "C RCPT TO:<ann@mx.test>", "S 550 5.7.25", QUIT } },
    { "no name now", REQUIRE_NAME, "",
      { MAIL, "C RCPT TO:<ann@mx.test>", "N temp", "S 450 4.7.25", QUIT } },
    { "no resolver", REQUIRE_NAME | NO_RESOLVER, "",
      { MAIL, "C RCPT TO:<ann@mx.test>", "S 450 4.7.25", QUIT } },
    { "a relay needs no name", REQUIRE_NAME | TRUSTED, "",
      { RCPT, "C DATA", "S 354", "H", "E" } },
    { "the name is noted", NOTE_NAME, "",
      { RCPT, "C DATA", ".", "N ok", "S 354", "H", "E" } },
    { "the name is not waited for long", NOTE_NAME, "",
      { RCPT, "C DATA", ".", "W", "S 354", "H", "E" } },
    /* TLS */
    { "STARTTLS is off", CERT, "",
      { EHLO, "C STARTTLS", "S 502 5.5.1 Error: command not implemented",
        "C STARTTLS", "S 502", "C STARTTLS", "S 502", QUIT } },
    { "STARTTLS", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS", READY_TLS, "Y", ".", EHLO_SECURED,
        "C MAIL FROM:<>", "S 250", "C RCPT TO:<ann@mx.test>", "S 250", "C DATA",
        "S 354", "C ", "C .", "Q", "S 250 2.0.0", QUIT } },
    { "STARTTLS before EHLO", STARTTLS | CERT, "",
      { HI, "C STARTTLS", READY_TLS, "Y", EHLO_SECURED, QUIT } },
    { "what was said in clear is forgotten", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS", READY_TLS, "Y", "C MAIL FROM:<a@c.test>",
        "S 503 5.5.1 Error: send HELO/EHLO first", EHLO_SECURED,
        "C MAIL FROM:<a@c.test>", "S 250", QUIT } },
    { "commands behind STARTTLS are thrown away", STARTTLS | CERT, "",
      { HI, EHLO_TLS,
        "c STARTTLS\r\nEHLO x.test\r\nMAIL FROM:<a@c.test>\r\nRSET\r\n",
        READY_TLS, ".", "Y", ".", "C MAIL FROM:<a@c.test>", "S 503 5.5.1",
        EHLO_SECURED, QUIT } },
    { "a part of a line behind STARTTLS", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "c STARTTLS\r\nMAIL FR", READY_TLS, "Y",
        "C OM:<a@c.test>", "S 500 5.5.1", "E" } },
    { "STARTTLS twice", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS", READY_TLS, "Y", EHLO_SECURED, "C STARTTLS",
        "S 503 5.5.1 Error: TLS already active", QUIT } },
    { "STARTTLS with an argument", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS now", "S 501 5.5.4 Syntax: STARTTLS", "C RSET",
        "S 250", QUIT } },
    { "STARTTLS behind MAIL and RCPT", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C MAIL FROM:<>", "S 250", "C STARTTLS",
        "S 503 5.5.1 Error: MAIL transaction in progress",
        "C RCPT TO:<ann@mx.test>", "S 250", "C STARTTLS", "S 503 5.5.1",
        "C DATA", "S 354", "H", "E" } },
    { "no TLS now", STARTTLS, "",
      { EHLO, "C STARTTLS",
        "S 454 4.7.0 TLS not available due to local problem", "C MAIL FROM:<>",
        "S 250", QUIT } },
    { "a broken handshake", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS", READY_TLS, "C MAIL FROM:<>", "W" } },
    { "hang-up in a handshake", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS", READY_TLS, "H", "E" } },
    { "stop in a handshake", STARTTLS | CERT, "",
      { HI, EHLO_TLS, "C STARTTLS", READY_TLS, "Z", "E" } },
    { "TLS from the first octet", TLS_FIRST | STARTTLS | CERT, "",
      { ".", "Y", HI, EHLO_SECURED, "C STARTTLS", "S 503 5.5.1", QUIT } },
    { "TLS from the first octet, the banner waits", TLS_FIRST | CERT, "c",
      { "Y", ".", "A", HI, EHLO_SECURED, QUIT } },
    { "TLS from the first octet, refused", TLS_FIRST | CERT, "c",
      { "Y", ".", "R", "S 550 5.7.1 no c", "E" } },
    { "TLS from the first octet, none", TLS_FIRST, "", { "E" } },
    { "a handshake without time", TLS_FIRST | CERT | NO_TIME, "", { "E" } },
    /* recipients */
    { "the user is looked up later", 0, "",
      { MAIL, "c RCPT TO:<later@mx.test>\r\nRCPT TO:<ann@mx.test>\r\n", ".",
        "U", "S 250 2.1.5", "S 250 2.1.5", QUIT } },
    { "the look-up fails later", 0, "",
      { MAIL, "C RCPT TO:<later@mx.test>", ".", "T",
        "S 451 4.3.0 Recipient address rejected: Temporary lookup failure",
        "C RCPT TO:<ann@mx.test>", "S 250 2.1.5", QUIT } },
    { "hang-up while a user is looked up", 0, "",
      { MAIL, "C RCPT TO:<later@mx.test>", ".", "H", ".", "U", "S 250", "E" } },
    { "stop while a user is looked up", 0, "",
      { MAIL, "C RCPT TO:<later@mx.test>", ".", "Z", "S 421 4.3.2", "E",
        "U" } },
    { "answers about users end no other wait", 0, "r",
      { MAIL, "C RCPT TO:<ann@mx.test>", ".", "U", ".", "A", "S 250 2.1.5",
        QUIT } },
    { "a recipient that waits in the queue", 0, "",
      { MAIL, "C RCPT TO:<command@mx.test>", "S 250 2.1.5", QUIT } },
    { "a mailbox over its quota", 0, "",
      { MAIL, "C RCPT TO:<fat@mx.test>",
        "S 452 4.2.2 Recipient address rejected: Mailbox over quota",
        "C RCPT TO:<list@mx.test>", "S 250 2.1.5", "C RCPT TO:<ann@mx.test>",
        "S 250 2.1.5", QUIT } },
    { "a program of this host has no queue", LOCAL | TRUSTED, "",
      { MAIL_LOCAL, "C RCPT TO:<fat@mx.test>", "S 250 2.1.5",
        "C RCPT TO:<temp@mx.test>", "S 250 2.1.5", "C RCPT TO:<u@mx.test>",
        "S 550 5.1.1", "C RCPT TO:<later@mx.test>", ".", "T", "S 250 2.1.5",
        QUIT } },
    { "no room for mailboxes", MAIL_DIR_FULL | TRUSTED, "",
      { MAIL, "C RCPT TO:<ann@mx.test>",
        "S 452 4.3.1 Insufficient system storage", "C RCPT TO:<list@mx.test>",
        "S 452 4.3.1", "C RCPT TO:<u@mx.test>", "S 550 5.1.1",
        "C RCPT TO:<x@far.test>", "S 250 2.1.5", QUIT } },
    { "too many recipients", 0, "",
      { RCPT, "C RCPT TO:<ann@mx.test>", "S 250", "C RCPT TO:<ann@mx.test>",
        "S 250", "C RCPT TO:<ann@mx.test>",
        "S 452 4.5.3 Error: too many recipients", "C DATA", "S 354", "H",
        "E" } },
    { "refusals", 0, "",
      { MAIL, "C RCPT TO:<x@far.test>", "S 550 5.7.1 Relay access denied",
        "C RCPT TO:<temp@mx.test>", "S 451 4.3.0 Recipient address rejected:",
        "C RCPT TO:<loop@mx.test>", "S 554 5.4.6",
        "C RCPT TO:<deep@mx.test>", "S 451 4.3.0",
        "C RCPT TO:<@>", "S 501 5.1.3 Bad recipient address syntax: ",
        "C RCPT TO:<ann@mx.test> X=y", "S 555 5.5.4 Unsupported option: X",
        "C RCPT ann", "S 501 5.5.4 Syntax: RCPT TO:<address>",
        "C DATA", "S 554 5.5.1 Error: no valid recipients", QUIT } },
    { "unknown users", 0, "",
      { MAIL, "C RCPT TO:<u@mx.test>",
        "S 550 5.1.1 Recipient address rejected: User unknown in local",
        "C RCPT TO:<u@mx.test>", ".", "U", ".", "W", "S 550 5.1.1",
        "C RCPT TO:<u@mx.test>", "S 421 4.7.0 Error: too many unknown",
        "E" } },
    { "a relay may ask for many", TRUSTED, "",
      { MAIL, "C RCPT TO:<u@mx.test>", "S 550", "C RCPT TO:<u@mx.test>",
        "S 550", "C RCPT TO:<u@mx.test>", "S 550", "C RCPT TO:<x@far.test>",
        "S 250", QUIT } },
    { "senders", 0, "",
      { EHLO, "C MAIL FROM:<a@c.test> SIZE=2000",
        "S 552 5.3.4 Message size exceeds fixed limit",
        "C MAIL FROM:<a@c.test> SIZE=x", "S 501 5.5.4 Bad message size",
        "C MAIL FROM:<a@c.test> BODY=x", "S 501 5.5.4",
        "C MAIL FROM:<a@c.test> SIZE=1 SIZE=1", "S 501 5.5.4",
        "C MAIL FROM:<@>", "S 501 5.1.7 Bad sender address syntax: ",
        "C MAIL FROM:<a@c.test> SIZE=10 BODY=8BITMIME SMTPUTF8", "S 250",
        QUIT } },
    /* the text */
    { "too big, lines too long", 0, "",
      { DATA,
        "C xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "c 1234567890123456789012345678901234567890123456789012345678901234567"
        "890123456789012345678901234567890123456789012345678901234567890123456"
        "789012345678901234567890123456789012345678901234567890123456789012345"
        "678901234567890123456789012345678901234567890123456789012345678901234"
        "567890123456789012345678901234567890123456789012345678901234567890123"
        "456789012345678901234567890123456789012345678901234567890123456789012"
        "345678901234567890123456789012345678901234567890123456789012345678901"
        "234567890123456789012345678901234567890123456789012345678901234567890"
        "123456789012345678901234567890123456789012345678901234567890123456789"
        "012345678901234567890123456789012345678901234567890123456789012345678"
        "901234567890123456789012345678901234567890123456789012345678901234567"
        "890123456789012345678901234567890123456789012345678901234567890123456"
        "789012345678901234567890123456789012345678901234567890123456789012345",
        "c \r\n.\r\n", "S 552 5.3.4 Message size exceeds fixed limit", QUIT } },
    { "bare LF in the text", 0, "",
      { DATA, "c a\nb\r\n.\r\n", "S 550 5.5.2 Error: bare <CR> or <LF>",
        QUIT } },
    { "a slow text", SLOW, "", { DATA, "c x", "W", "S 421 4.4.2 mx.test", "E" } },
    /* manners */
    { "early talk", 0, "", { "E" } },
    { "early talk is served", EARLY_OK, "", { HI, QUIT } },
    { "HELO, one command at a time", 0, "",
      { HI, "C HELO c.test", "S 250 mx.test", "C MAIL FROM:<>", "S 250",
        "c RCPT TO:<ann@mx.test>\r\nDATA\r\n",
        "S 554 5.5.0 Error: SMTP protocol synchronization", "E" } },
    { "text behind DATA", 0, "",
      { RCPT, "c DATA\r\nSubject: x\r\n", "S 554 5.5.0", "E" } },
    { "text behind DATA of a relay", TRUSTED, "",
      { RCPT, "c DATA\r\nSubject: x\r\n.\r\n", "S 354", "Q", "S 250", QUIT } },
    { "DATA with an argument", 0, "",
      { RCPT, "C DATA now", "S 501 5.5.4 Syntax: DATA", "C DATA", "S 354", "H",
        "E" } },
    { "order", 0, "",
      { HI, "C RSET", "S 250 2.0.0 Ok", "C RCPT TO:<ann@mx.test>",
        "S 503 5.5.1 Error: need MAIL", "C DATA",
        "S 503 5.5.1 Error: need RCPT", QUIT } },
    { "nested MAIL", 0, "",
      { MAIL, "C MAIL FROM:<>", "S 503 5.5.1 Error: nested MAIL", QUIT } },
    { "bad names", 0, "",
      { HI, "C HELO", "S 501 5.5.4", "C EHLO a b", "S 501 5.5.4", QUIT } },
    { "not offered, not an error", 0, "",
      { EHLO, "C NOOP", "S 502 5.5.1", "C NOOP", "S 502", "C HELP", "S 502",
        "C STARTTLS", "S 502", QUIT } },
    { "offered", EXTRA, "",
      { EHLO, "C NOOP", "S 250 2.0.0", "C HELP",
        "S 214 2.0.0 HELO EHLO MAIL RCPT DATA RSET QUIT HELP NOOP", QUIT } },
    { "errors are counted", 0, "",
      { EHLO, "C VRFY ann", "S 502 5.5.1 Command is disabled", "C FROB",
        "S 500 5.5.1 Error: command not recognized", "c a\rb\r\n",
        "S 500 5.5.2 Error: bad syntax",
        "S 421 4.7.0 mx.test Error: too many errors", "E" } },
    { "a bare LF", 0, "",
      { EHLO, "c NOOP\nQUIT\r\n", "S 500 5.5.2 Error: bare <LF>", "E" } },
    { "HTTP", 0, "", { HI, "c GET / HTTP/1.0\r\nMAIL FROM:<>\r\n",
                       "S 500 5.5.1", "E" } },
    { "no time", NO_TIME, "", { HI, "S 421 4.4.2 mx.test Error: timeout", "E" } },
    { "stop", 0, "", { EHLO, "Z", "S 421 4.3.2 mx.test Service not", "E" } },
    { "stop in the text", 0, "",
      { DATA, "Z", ".", "c .\r\n", ".", "Z", "Q", "S 250", "S 421", "E" } },
};
/* clang-format on */

/* --- the surroundings ------------------------------------------------- */

static struct {
    const struct dialogue *d;
    struct conf conf;
    struct loop *loop;
    struct conn_env conns;
    struct serve_env env;
    struct policy_check checks[16];
    struct serve_session *session, *starting;
    int fd;               /* the client's end */
    struct tls_peer *tls; /* or its TLS, which owns it then */
    bool over;
    char got[8192]; /* replies that were not looked at yet */
    size_t n;
    unsigned unknown;
    struct serve_transaction *committing;
    /* what waits: */
    struct policy *asked;
    struct verdict verdict;
    fcrdns_fn *on_name;
    void *name_ctx;
    bool users_known, users_fail;
    struct full_page *full;
} me;

static bool is_trusted(void *ctx, const struct addr *peer)
{
    (void)ctx;
    (void)peer;
    return me.d->how & TRUSTED;
}

static bool has_domain(void *ctx, struct span domain)
{
    (void)ctx;
    return span_is_nocase(domain, "mx.test");
}

static enum local_verdict check_local(void *ctx, struct span local,
                                      struct span domain,
                                      char key[LOCAL_KEY_MAX])
{
    static const struct {
        const char *name;
        enum local_verdict verdict;
    } users[] = { { "temp", LOCAL_TEMP },    { "loop", LOCAL_LOOP },
                  { "deep", LOCAL_STOPPED }, { "u", LOCAL_UNKNOWN },
                  { "slow", LOCAL_TEMP },    { "command", LOCAL_UNSUPPORTED },
                  { "list", LOCAL_OK } };

    (void)ctx;
    ck_assert(span_is_nocase(domain, "mx.test") ||
              ((me.d->how & LOCAL) != 0 && domain.p[0] == '['));
    if (span_is_nocase(local, "slow"))
        test_clock_pass_ms(3);
    key[0] = '\0';
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++)
        if (span_is_nocase(local, users[i].name))
            return users[i].verdict;
    if (span_is_nocase(local, "later") && !me.users_known)
        return me.users_fail ? LOCAL_TEMP : LOCAL_WAIT;
    ck_assert(span_copy(key, LOCAL_KEY_MAX, local));
    return LOCAL_OK;
}

static unsigned count_unknown(void *ctx, const struct addr *peer)
{
    (void)ctx;
    (void)peer;
    return ++me.unknown;
}

static int new_id(void *ctx, enum spool_name queue, struct msg_id *id,
                  struct err *e)
{
    (void)ctx;
    ck_assert_int_eq(queue, SPOOL_LOCAL);
    *id = (struct msg_id){ 0 };
    return me.d->how & NO_ID ? err_set(e, ERR_TEMP, EIO, "no id") : 0;
}

static int has_room(void *ctx, uint64_t size, struct err *e)
{
    (void)ctx;
    (void)size;
    return me.d->how & DISK_FULL ? err_set(e, ERR_TEMP, ENOSPC, "full") : 0;
}

static void submit(void *ctx, struct serve_transaction *t)
{
    (void)ctx;
    t->in_commit = true;
    me.committing = t;
}

static void ended(void *ctx, struct serve_session *s)
{
    (void)ctx;
    me.over |= s == (me.session != NULL ? me.session : me.starting);
}

static struct fcrdns_query *ask_name(struct dns *dns, const struct addr *client,
                                     fcrdns_fn *fn, void *ctx, struct err *e)
{
    (void)dns;
    (void)client;
    if (me.d->how & NO_RESOLVER) {
        err_set(e, ERR_TEMP, 0, "no memory");
        return NULL;
    }
    me.on_name = fn;
    me.name_ctx = ctx;
    return (struct fcrdns_query *)(void *)&me;
}

static void cancel_name(struct fcrdns_query *q)
{
    ck_assert((void *)q == (void *)&me);
    me.on_name = NULL;
}

/* Waits for A, R or X when the dialogue says so. */
static struct verdict ask(struct policy *p, char stage)
{
    static char text[] = "no ?", bye[] = "gone ?";
    struct verdict v = me.verdict;

    if (strchr(me.d->waits, stage) == NULL)
        return (struct verdict){ .kind = VERDICT_PASS };
    me.asked = v.kind == VERDICT_WAIT ? p : NULL;
    me.verdict.kind = VERDICT_WAIT;
    text[3] = bye[5] = stage;
    if (v.kind == VERDICT_REJECT) {
        v.status = v.code == 421 ? "4.7.1" : "5.7.1";
        v.text = v.code == 421 ? bye : text;
    }
    return v;
}

#define ASK(letter)                                                            \
    static struct verdict ask_##letter(struct policy *p)                       \
    {                                                                          \
        return ask(p, *#letter);                                               \
    }
ASK(c)
ASK(h)
ASK(m)
ASK(r)
ASK(d)
ASK(t)

static void cancel(struct policy *p)
{
    (void)p;
    me.asked = NULL;
}

static size_t make_checks(void)
{
    static const struct policy_check fakes[] = {
        { POLICY_CONNECT, "fake", ask_c, NULL },
        { POLICY_HELO, "fake", ask_h, NULL },
        { POLICY_MAIL, "fake", ask_m, NULL },
        { POLICY_RCPT, "fake", ask_r, NULL },
        { POLICY_DATA, "fake", ask_d, NULL },
        { POLICY_DOT, "fake", ask_t, cancel },
    };
    size_t n = sizeof fakes / sizeof fakes[0];

    ck_assert_uint_le(n + policy_nchecks,
                      sizeof me.checks / sizeof me.checks[0]);
    memcpy(me.checks, fakes, sizeof fakes);
    memcpy(me.checks + n, policy_checks, policy_nchecks * sizeof *me.checks);
    return n + policy_nchecks;
}

static void make_conf(void)
{
    struct conf *c = &me.conf;

    memset(c, 0, sizeof *c);
    snprintf(c->hostname, sizeof c->hostname, "mx.test");
    c->serve.max_message_size = 1000;
    c->serve.max_recipients = 3;
    c->serve.max_clients = 10;
    c->serve.max_errors = 3;
    c->serve.max_unknown = 1;
    c->serve.min_rate = me.d->how & SLOW ? 1000 : 0;
    c->serve.command_timeout = c->serve.data_timeout = 60;
    c->serve.session_timeout = me.d->how & NO_TIME ? 0 : 3600;
    if (me.d->how & EARLY_OK)
        c->serve.early_talk = CONF_EARLY_TALK_ACCEPT;
    if (me.d->how & EXTRA)
        c->serve.extra_commands = CONF_EXTRA_NOOP | CONF_EXTRA_HELP;
    if (me.d->how & STARTTLS)
        c->serve.extra_commands |= CONF_EXTRA_STARTTLS;
}

static bool row_taken[128];

static void on_row(const struct fsm_row *r)
{
    row_taken[r - serve_session_fsm.rows] = true;
}

static void open_env(void)
{
    struct serve_env *env = &me.env;
    struct err e;

    test_clock_stop();
    me.verdict.kind = VERDICT_WAIT;
    make_conf();
    ck_assert_int_eq(full_page_new(&me.full, &e), 0);
    full_page_set_mailbox(me.full, "fat", clock_mono_ms() + 60000);
    if (me.d->how & MAIL_DIR_FULL)
        full_page_set_disk(me.full, clock_mono_ms() + 60000);
    ck_assert_int_eq(loop_new(&me.loop, NULL, &e), 0);
    ck_assert_int_eq(conn_env_init(&me.conns, me.loop, 1000, &e), 0);
    *env = (struct serve_env){
        .conf = &me.conf,
        .conns = &me.conns,
        .bodies = me.conns.blocks,
        .full = me.full,
        .policy = { .checks = me.checks,
                    .nchecks = make_checks(),
                    .loop = me.loop,
                    .rdns = me.d->how & REQUIRE_NAME ? CONF_RDNS_REQUIRE
                            : me.d->how & NOTE_NAME  ? CONF_RDNS_WARN
                                                     : CONF_RDNS_OFF,
                    .name_wait_ms = 30,
                    .ask_name = ask_name,
                    .cancel_name = cancel_name },
        .is_trusted = is_trusted,
        .has_domain = has_domain,
        .check_local = check_local,
        .count_unknown = count_unknown,
        .new_id = new_id,
        .has_room = has_room,
        .submit = submit,
        .ended = ended,
    };
    env->tls = me.d->how & CERT ? tls_peer_server() : NULL;
    ck_assert_int_eq(serve_env_open(env, &e), 0);
    env->unknown_delay_ms = 30;
    env->min_rate_after_ms = me.d->how & SLOW ? 20 : 60000;
    env->fsm.taken = on_row;
}

/* A session, and the client's end of its connection. */
static struct serve_session *connect_client(int *fd, const char *early)
{
    struct addr peer;
    struct err e;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fcntl(pair[i], F_SETFL, O_NONBLOCK), 0);
    if (me.d->how & LOCAL)
        addr_from_uid(&peer, 1000, "submit");
    else
        ck_assert(addr_parse_ip(&peer, span_of("192.0.2.1"), 4242));
    if (early != NULL)
        ck_assert_int_gt(write(pair[1], early, strlen(early)), 0);
    struct serve_session *s = serve_session_new(
        &me.env, &peer, me.d->how & TLS_FIRST ? CONF_ROLE_TLS : 0);
    ck_assert_ptr_nonnull(s);
    me.starting = s;
    ck_assert_int_eq(serve_session_start(s, pair[0], &e), 0);
    *fd = pair[1];
    return s;
}

static void turn(int wait_ms)
{
    struct err e;

    if (me.tls != NULL)
        tls_peer_flush(me.tls);
    ck_assert_int_ge(loop_turn(me.loop, wait_ms, &e), 0);
    conn_flush_all(&me.conns);
    size_t room = sizeof me.got - 1 - me.n;
    ssize_t got = me.tls != NULL
                      ? (ssize_t)tls_peer_take(me.tls, me.got + me.n, room)
                      : recv(me.fd, me.got + me.n, room, 0);
    if (got > 0)
        me.n += (size_t)got;
    me.got[me.n] = '\0';
}

static void settle(void)
{
    for (int i = 0; i < 6; i++)
        turn(0);
}

static void close_env(void)
{
    if (me.tls == NULL)
        close(me.fd);
    tls_peer_free(&me.tls);
    for (int i = 0; i < 10 && !me.over; i++)
        turn(1);
    ck_assert_msg(me.over, "%s: the session does not end", me.d->name);
    serve_session_free(&me.session);
    if (me.committing != NULL)
        serve_transaction_free(&me.committing);
    ck_assert_uint_eq(me.env.transactions, 0);
    ck_assert_uint_eq(pool_used(me.conns.blocks), 0);
    tls_context_free(&me.env.tls);
    serve_env_close(&me.env);
    full_page_free(&me.full);
    conn_env_done(&me.conns);
    loop_free(&me.loop);
    test_clock_go_on();
}

/* --- the player ------------------------------------------------------- */

static void expect(const char *want)
{
    char *end;

    settle();
    end = strstr(me.got, "\r\n");
    ck_assert_msg(end != NULL && strncmp(me.got, want, strlen(want)) == 0,
                  "%s: wanted \"%s\", got \"%s\"", me.d->name, want, me.got);
    me.n -= (size_t)(end + 2 - me.got);
    memmove(me.got, end + 2, me.n + 1);
}

static void expect_nothing(void)
{
    settle();
    ck_assert_msg(me.n == 0, "%s: unexpected \"%s\"", me.d->name, me.got);
}

static void send_text(const char *text, const char *end)
{
    size_t n = strlen(text);

    if (me.tls != NULL) {
        tls_peer_send(me.tls, text);
        tls_peer_send(me.tls, end);
        settle();
        return;
    }
    ck_assert_int_eq(send(me.fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
    n = strlen(end);
    ck_assert_int_eq(send(me.fd, end, n, MSG_NOSIGNAL), (ssize_t)n);
    settle();
}

static void expect_end(void)
{
    char octet;

    expect_nothing();
    if (me.tls != NULL) {
        ck_assert_msg(tls_peer_is_over(me.tls), "%s: not closed", me.d->name);
        return;
    }
    ck_assert_msg(recv(me.fd, &octet, 1, 0) == 0, "%s: not closed", me.d->name);
}

static void give_verdict(char letter)
{
    struct policy *p = me.asked;

    settle();
    p = me.asked;
    ck_assert_msg(p != NULL, "%s: no check waits", me.d->name);
    me.verdict =
        (struct verdict){ .kind = letter == 'A' ? VERDICT_PASS : VERDICT_REJECT,
                          .code = letter == 'X' ? 421 : 550 };
    policy_answered(p);
    settle();
}

static void give_name(const char *word)
{
    fcrdns_fn *fn = me.on_name;

    settle();
    fn = me.on_name;
    ck_assert_msg(fn != NULL, "%s: no name is wanted", me.d->name);
    me.on_name = NULL;
    fn(me.name_ctx,
       strcmp(word, "ok") == 0     ? FCRDNS_OK
       : strcmp(word, "none") == 0 ? FCRDNS_NO_PTR
                                   : FCRDNS_TEMP,
       strcmp(word, "ok") == 0 ? "c.test" : "");
}

static void commit(char letter)
{
    struct err why;

    settle();
    ck_assert_msg(me.committing != NULL, "%s: nothing to commit", me.d->name);
    err_set(&why, ERR_TEMP, letter == 'G' ? ENOSPC : EIO, "sync");
    serve_session_committed(me.committing, letter == 'Q' ? NULL : &why);
    serve_transaction_free(&me.committing);
}

static void begin_tls(void)
{
    settle();
    me.tls = tls_peer_new(me.loop, me.fd);
    settle();
    ck_assert_msg(tls_peer_is_secured(me.tls), "%s: no TLS", me.d->name);
}

static void play_line(const char *line)
{
    switch (line[0]) {
    case 'C': send_text(line + 2, "\r\n"); break;
    case 'c': send_text(line + 2, ""); break;
    case 'S': expect(line + 2); break;
    case '.': expect_nothing(); break;
    case 'E': expect_end(); break;
    case 'Y': begin_tls(); break;
    case 'H': shutdown(me.fd, SHUT_WR); break;
    case 'Z':
        me.env.stopping = true;
        serve_session_stop(me.session);
        break;
    case 'N': give_name(line + 2); break;
    case 'U':
    case 'T':
        settle();
        me.users_known = line[0] == 'U';
        me.users_fail = line[0] == 'T';
        serve_env_answered(&me.env);
        break;
    case 'W':
        for (int i = 0; i < 500 && me.n == 0; i++) {
            test_clock_pass_ms(10);
            turn(0);
        }
        break;
    case 'A':
    case 'R':
    case 'X': give_verdict(line[0]); break;
    default: commit(line[0]); break;
    }
}

static void play(const struct dialogue *d)
{
    bool early = strncmp(d->name, "early talk", 10) == 0;

    memset(&me, 0, sizeof me);
    me.d = d;
    open_env();
    me.session = connect_client(&me.fd, early && d->how == 0 ? "x" : NULL);
    if (early && d->how == 0)
        expect("554 5.5.0");
    for (size_t i = 0; i < LINES_MAX && d->lines[i] != NULL; i++)
        play_line(d->lines[i]);
    close_env();
}

/* What a session logs goes to stderr when there is no collector. */
static int silence(void)
{
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

    ck_assert_int_ge(dup2(null, STDERR_FILENO), 0);
    close(null);
    return kept;
}

static void speak_again(int kept)
{
    dup2(kept, STDERR_FILENO);
    close(kept);
}

START_TEST(dialogue)
{
    int kept = silence();

    play(&dialogues[_i]);
    speak_again(kept);
}
END_TEST

START_TEST(every_row_is_taken)
{
    const struct fsm *m = &serve_session_fsm;

    if (few_step() > 1)
        return; /* that each is played once is enough there */
    int kept = silence();
    memset(row_taken, 0, sizeof row_taken);
    for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++)
        play(&dialogues[i]);
    speak_again(kept);
    for (size_t i = 0; i < m->nrows; i++) {
        const struct fsm_row *r = &m->rows[i];
        ck_assert_msg(row_taken[i], "no dialogue takes %s on %s [%s] / %s",
                      r->state == FSM_ANY ? "any" : m->state_names[r->state],
                      m->event_names[r->event], r->guard_name, r->act_name);
    }
}
END_TEST

/* --- turns and deadlines ---------------------------------------------- */

static const struct dialogue plain = { "plain", 0, "", { NULL } };

static unsigned count_replies(int fd)
{
    char text[65536];
    unsigned lines = 0;
    ssize_t n = recv(fd, text, sizeof text, 0);

    for (ssize_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

/* The first client has sent thousands of commands at once; the second says
 * EHLO behind it and is answered after a turn's worth of them. */
START_TEST(many_commands_delay_no_other)
{
    int kept = silence(), other;
    static const char line[] = "RCPT TO:<temp@mx.test>\r\n";
    enum { LINES = 100 };
    char rcpt[LINES * (sizeof line - 1)];
    unsigned sent = 0, answered;

    memset(&me, 0, sizeof me);
    me.d = &plain;
    open_env();
    me.session = connect_client(&me.fd, NULL);
    struct serve_session *second = connect_client(&other, NULL);
    turn(0);
    ck_assert_uint_eq(count_replies(other), 1);
    send_text("EHLO a.test", "\r\n");
    send_text("MAIL FROM:<>", "\r\n");
    for (size_t i = 0; i < LINES; i++)
        memcpy(rcpt + i * (sizeof line - 1), line, sizeof line - 1);
    while (send(me.fd, rcpt, sizeof rcpt, MSG_NOSIGNAL) == sizeof rcpt)
        sent += LINES;
    ck_assert_uint_gt(sent, 500);
    ck_assert_int_gt(write(other, "EHLO b.test\r\n", 13), 0);
    me.n = 0;
    turn(0);
    ck_assert_uint_eq(count_replies(other), 7);
    answered = 0;
    for (size_t i = 0; i < me.n; i++)
        answered += me.got[i] == '\n';
    ck_assert_uint_ge(answered, 1);
    ck_assert_uint_le(answered, 100);
    for (int i = 0; i < 4000 && answered < sent; i++) {
        me.n = 0;
        turn(1);
        for (size_t k = 0; k < me.n; k++)
            answered += me.got[k] == '\n';
    }
    ck_assert_uint_ge(answered, sent);
    close(other);
    turn(0);
    serve_session_free(&second);
    close_env();
    speak_again(kept);
}
END_TEST

/* Ten clients whose commands take 3 ms: two of them fill the turn of one, some
 * seven that of all; after that each gets one command at a time. */
START_TEST(slow_commands_end_the_turn)
{
    enum { CLIENTS = 10, LINES = 20, MOST = 8 + 2 * CLIENTS };
    int kept = silence(), fd[CLIENTS];
    struct serve_session *all[CLIENTS];
    unsigned answered = 0;

    memset(&me, 0, sizeof me);
    me.d = &plain;
    open_env();
    for (int i = 0; i < CLIENTS; i++) {
        all[i] = me.session = connect_client(&me.fd, NULL);
        fd[i] = me.fd;
        settle();
        send_text("EHLO a.test", "\r\n");
        send_text("MAIL FROM:<>", "\r\n");
        me.n = 0;
    }
    for (int i = 0; i < CLIENTS; i++)
        for (int k = 0; k < LINES; k++)
            ck_assert_int_gt(write(fd[i], "RCPT TO:<slow@mx.test>\r\n", 24), 0);
    turn(0);
    for (int i = 0; i < CLIENTS; i++) {
        unsigned n = count_replies(fd[i]) + (fd[i] == me.fd ? 1 : 0);
        ck_assert_uint_ge(n, 1);
        ck_assert_uint_le(n, 4);
        answered += n;
    }
    ck_assert_uint_le(answered, MOST);
    for (int i = 0; i < CLIENTS - 1; i++) {
        close(fd[i]);
        me.n = 0;
        settle();
        serve_session_free(&all[i]);
    }
    close_env();
    speak_again(kept);
}
END_TEST

/* Each octet of a line that never ends gains it no time. */
START_TEST(a_dripped_line_times_out)
{
    int kept = silence();

    memset(&me, 0, sizeof me);
    me.d = &plain;
    open_env();
    me.conf.serve.command_timeout = 1;
    me.session = connect_client(&me.fd, NULL);
    expect("220");
    uint64_t began = clock_mono_ms();
    while (me.n == 0 && clock_mono_ms() - began < 10000) {
        (void)!send(me.fd, "N", 1, MSG_NOSIGNAL);
        test_clock_pass_ms(100);
        turn(0);
    }
    expect("421 4.4.2");
    ck_assert_uint_lt(clock_mono_ms() - began, 5000);
    close_env();
    speak_again(kept);
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
    t = tcase_create("dialogue");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, dialogue, 0, sizeof dialogues / sizeof dialogues[0]);
    tcase_add_test(t, every_row_is_taken);
    tcase_add_test(t, many_commands_delay_no_other);
    tcase_add_test(t, slow_commands_end_the_turn);
    tcase_add_test(t, a_dripped_line_times_out);
    suite_add_tcase(s, t);
    return s;
}
