/* send/fault.h - whose fault a failure is, and what follows for the mail in
 * hand and for the lane: one table (docs/send.md, "Whose fault is it?").  Pure.
 *
 * A failure is where the dialogue stood, what came, and a few facts about the
 * session.  Session, lane and look-up ask the table and act on its columns;
 * none of them decides by itself. */
#ifndef MTA_SEND_FAULT_H
#define MTA_SEND_FAULT_H

#include "send/fault_kinds.h"
#include "send/refusal.h"

#include <stdbool.h>

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
    bool may;         /* clear text will do, if TLS does not work */
    bool token;       /* the login is by a token, which may be too old */
    bool resumes;     /* TLS, with a session that the host gave before */
};

enum fault_whose {
    WHOSE_ADDRESS,
    WHOSE_HOST,
    WHOSE_PROFILE,  /* the host's, of sessions with TLS */
    WHOSE_TICKET,   /* the host's, of a TLS session that it gave before */
    WHOSE_LOGIN,    /* the host's, of sessions with that login */
    WHOSE_DELIVERY, /* it demands another certificate */
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
    MAIL_SHUT_OUT,  /* the same; the host is shut for mail of this kind */
    MAIL_MISFIT,    /* waits for a session of another profile */
    MAIL_NO_LOGIN,  /* not offered: waits as below, or goes to another host of
                     * send.relay_host */
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
