/* send/fault.h - whose fault a failure is, and what follows for the mail in
 * hand and for the lane: one table (docs/send.md, "Whose fault is it?").  Pure.
 *
 * A failure is where the dialogue stood, what came, and a few facts about the
 * session.  Session, lane and look-up ask the table and act on its columns;
 * none of them decides by itself. */
#ifndef MTA_SEND_FAULT_H
#define MTA_SEND_FAULT_H

#include "send/refusal.h"

#include <stdbool.h>

/* The command whose reply was due. */
enum fault_when {
    FAULT_CONNECT = 1 << 0,
    FAULT_GREETING = 1 << 1,
    FAULT_EHLO = 1 << 2, /* and HELO */
    FAULT_MAIL = 1 << 3,
    FAULT_RCPT = 1 << 4,
    FAULT_DATA = 1 << 5,
    FAULT_TEXT = 1 << 6,     /* the end of the text is not written yet */
    FAULT_END = 1 << 7,      /* it is: the dot, or the last octet of BDAT */
    FAULT_RSET = 1 << 8,     /* or idle: no message is in hand */
    FAULT_SESSIONS = 1 << 9, /* of the lane, one after the other */
    FAULT_LOOK_UP = 1 << 10,
    FAULT_QUEUE = 1 << 11, /* reading the message */

    FAULT_HELLO = FAULT_GREETING | FAULT_EHLO,
    FAULT_ENVELOPE = FAULT_MAIL | FAULT_RCPT,
    FAULT_BODY = FAULT_TEXT | FAULT_END,
    FAULT_CONTENT = FAULT_DATA | FAULT_BODY,
    FAULT_MESSAGE = FAULT_ENVELOPE | FAULT_CONTENT,
    FAULT_BEHIND_MAIL = FAULT_RCPT | FAULT_CONTENT,
    FAULT_ANYWHERE = (1 << 12) - 1
};

enum fault_what {
    FAULT_4XX = 1 << 0, /* but 421 */
    FAULT_5XX = 1 << 1,
    FAULT_421 = 1 << 2,
    FAULT_DROP = 1 << 3,        /* closed, reset, refused, unreachable */
    FAULT_SILENCE = 1 << 4,     /* timed out */
    FAULT_NONSENSE = 1 << 5,    /* no reply, or none to this command */
    FAULT_OWN_NAME = 1 << 6,    /* the greeting has our host name, or the hosts
                                 * that are left are this system */
    FAULT_TWO_MAILS = 1 << 7,   /* MAIL of two messages in a row refused */
    FAULT_THREE_LOST = 1 << 8,  /* three messages lost a session each */
    FAULT_NO_ANSWER = 1 << 9,   /* SERVFAIL, silence */
    FAULT_NO_HOST = 1 << 10,    /* the DNS knows none that can be used */
    FAULT_UNREADABLE = 1 << 11, /* damaged, or the disk fails */
    FAULT_OURS = 1 << 12,       /* no memory, or no more time to stop */
    FAULT_UNUSABLE = 1 << 13,   /* REFUSED, malformed, a loop of CNAMEs */

    FAULT_SOFT = FAULT_4XX | FAULT_421,
    FAULT_REPLY = FAULT_4XX | FAULT_5XX,
    FAULT_REFUSED = FAULT_SOFT | FAULT_5XX,
    FAULT_NO_REPLY = FAULT_DROP | FAULT_SILENCE,
    FAULT_LOST = FAULT_NO_REPLY | FAULT_NONSENSE,
    FAULT_NO_TALK = FAULT_REFUSED | FAULT_LOST,
    FAULT_IN_A_ROW = FAULT_TWO_MAILS | FAULT_THREE_LOST,
    FAULT_NO_HELP = FAULT_NO_ANSWER | FAULT_UNUSABLE,
    FAULT_NOWHERE = FAULT_NO_HOST | FAULT_OWN_NAME,
    FAULT_ANYTHING = (1 << 14) - 1
};

struct fault {
    enum fault_when when;
    enum fault_what what;
    struct smtp_status status; /* of the reply, if there is one */
    struct refusal refusal;    /* the same, read */
    bool delivered;            /* the session has delivered a message before */
    bool unanswered;           /* no command of this message got a reply */
    bool leaving;              /* a refusal before has ended the session */
    bool some_taken;  /* a recipient was accepted in this transaction */
    bool chunked;     /* the text goes by BDAT */
    bool chunks_work; /* the host has accepted a BDAT before */
    bool configured;  /* the next hop is a setting */
    bool lmtp;        /* and speaks LMTP */
};

enum fault_whose {
    WHOSE_ADDRESS,
    WHOSE_HOST,
    WHOSE_US,
    WHOSE_SETTING,  /* ours, of the next hop */
    WHOSE_PACE,     /* the host wants less mail for now */
    WHOSE_LIMIT,    /* of messages in a session, recipients in a transaction */
    WHOSE_CHUNKING, /* the host offers what it does not have */
    WHOSE_MESSAGE,
    WHOSE_RECIPIENT,
    WHOSE_RESOLVER
};

enum fault_mail {
    MAIL_MOVES_ON,  /* not offered: to the next address, the next MX; a round
                     * when none is left */
    MAIL_LOOPS,     /* the same, but none left: 5.4.6 */
    MAIL_UNTOUCHED, /* is first in the next session */
    MAIL_AGAIN,     /* at once, in another way; not counted */
    MAIL_NEXT_MX,   /* once at the next MX, then an attempt */
    MAIL_ATTEMPT,   /* deferred, counted */
    MAIL_SUSPECT,   /* the same; from now on last and alone */
    MAIL_KEEPS,     /* the attempt that it has */
    MAIL_ROUND,     /* deferred without an offer */
    MAIL_WAITS,     /* 4.3.5, neither counted nor returned */
    MAIL_BOUNCES
};

enum fault_lane { /* each is stronger than those before */
                  LANE_GOES_ON,
                  LANE_LEARNS,  /* a limit of the host, and goes on */
                  LANE_LEAVES,  /* settle what is in flight, QUIT, come again */
                  LANE_CUTS,    /* before the last octet of the text */
                  LANE_REOPENS, /* the session is lost; come again, paced */
                  LANE_SLOWS,   /* its pace, after a minute or more */
                  LANE_SHUTS,   /* 1, 2, 4 ... 30 minutes */
                  LANE_STOPS    /* all lanes of its pace, 1, 2, 4, 8 hours */
};

struct fault_rule {
    unsigned when, what;                    /* any of these */
    bool (*only_if)(const struct fault *f); /* NULL: always */
    enum fault_whose whose;
    enum fault_mail mail;
    enum fault_lane lane;
    const char *name; /* of only_if */
};

/* The first rule that fits; there is always one. */
const struct fault_rule *fault_judge(const struct fault *f);

/* The table, for its test; *n: rules. */
const struct fault_rule *fault_rules(unsigned *n);
#endif
