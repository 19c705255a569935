/* session_rig.h - the client session against a scripted peer.
 *
 * The peer is a thread on loopback that follows a script of lines:
 *   "S text"  say it      "C text"  expect exactly this line
 *   "D"       expect the lines of the message as the test made it
 *   "B"       expect the same as the last chunk of BDAT
 *   "X"       close       "H"       say nothing more, wait for the client
 *   "E"       the client closes and sends nothing before that
 *   "P"       the client acts on what was said so far
 *   "T"       the same; then time passes until that changes its state
 *   "R n"     read so many octets, whatever they are
 * No time passes but by "T": deadlines come when the script has them.
 * What the client makes of it is one word per recipient, with the code;
 * messages end in ";":
 *   + delivered   ! failed       ~ an attempt   ? the same, suspect
 *   > next MX     0 untouched    a again        m moves on
 *   l loops       w waits for our settings, or for the disk
 *   n not offered, for the login is refused
 *   x shut out    f waits for a session of another profile */
#ifndef MTA_TESTS_KIT_SESSION_RIG_H
#define MTA_TESTS_KIT_SESSION_RIG_H

#include "config/types.h"
#include "send/session_private.h"

#include <stdio.h>

enum { LINES_MAX = 80, JOBS_MAX = 4, BIG = 8 << 20 };

#define EHLO "S 220 hello", "C EHLO me.test"
#define PLAIN EHLO, "S 250 hi"
#define CHUNKS EHLO, "S 250-hi", "S 250-PIPELINING", "S 250 CHUNKING"
#define PIPE EHLO, "S 250-hi", "S 250 PIPELINING"
#define MAIL "C MAIL FROM:<a@b.test>"
#define R0 "C RCPT TO:<r0@x.test>"
#define R1 "C RCPT TO:<r1@x.test>"
#define R2 "C RCPT TO:<r2@x.test>"
#define OK "S 250 ok"
#define GO "S 354 go"
#define SENT_BIG MAIL, R0, "C BDAT 8388629 LAST"
#define QUIT "C QUIT", "S 221 bye"
#define GOES_ON LANE_GOES_ON
#define LEAVES LANE_LEAVES
#define CUTS LANE_CUTS
#define LOST LANE_REOPENS
#define SLOWS LANE_SLOWS
#define SHUTS LANE_SHUTS

struct dialogue {
    const char *name;
    int deliveries, rcpts;
    const char *expect;
    enum fault_lane lane;
    unsigned delivered;
    const char *lines[LINES_MAX];
};

/* What goes in and out beside the mail. */
struct around {
    struct send_limits limits;
    bool configured; /* the deliveries' next hop is a setting */
    bool no_chunking;
    bool tls;                  /* the session wants it */
    enum conf_tls level;       /* of the mail */
    unsigned auth;             /* the session logs in as "u" with "p", by these
                            mechanisms; 0: not */
    enum conf_tls login_level; /* TLS that its login demands */
    bool no_login;             /* its mail has another login than the session */
    unsigned messages;         /* of a session, by the settings */
    unsigned linger;
    /* The first, second ... message: cannot be read; is BIG octets longer.
     * 0: none. */
    unsigned rotten, big;
    /* When the session is in that state: 's'top it, 'k'ill it, 'h'urry, or
     * 'g'ive it the last delivery.  0: nothing. */
    char act;
    enum send_session_state in;
    /* What is learned, and of whom, in words: "messages=2 rcpts=1 bdat=works
     * clear tried=2:#1 lost=#0 refused=#0 loops"; NULL: not looked at. */
    const char *end;
};

/* Play it, and check all that it promises; around may be NULL. */
void session_rig_run(const struct dialogue *d, const struct around *around);
#endif
