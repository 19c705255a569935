/* send/fault_kinds.h - where a dialogue can fail, and how: the first two
 * columns of the table in send/fault.h. */
#ifndef MTA_SEND_FAULT_KINDS_H
#define MTA_SEND_FAULT_KINDS_H

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
    FAULT_TLS = 1 << 12,   /* STARTTLS, the handshake, EHLO behind it */
    FAULT_AUTH = 1 << 13,  /* from AUTH to its last reply */

    FAULT_HELLO = FAULT_GREETING | FAULT_EHLO,
    FAULT_ENVELOPE = FAULT_MAIL | FAULT_RCPT,
    FAULT_BODY = FAULT_TEXT | FAULT_END,
    FAULT_CONTENT = FAULT_DATA | FAULT_BODY,
    FAULT_MESSAGE = FAULT_ENVELOPE | FAULT_CONTENT,
    FAULT_BEHIND_MAIL = FAULT_RCPT | FAULT_CONTENT,
    FAULT_BEHIND_TLS = FAULT_EHLO | FAULT_AUTH | FAULT_MESSAGE | FAULT_RSET,
    FAULT_ANYWHERE = (1 << 14) - 1
};

enum fault_what {
    FAULT_4XX = 1 << 0, /* but 421 */
    FAULT_5XX = 1 << 1,
    FAULT_421 = 1 << 2,
    FAULT_DROP = 1 << 3,         /* closed, reset, refused, unreachable */
    FAULT_SILENCE = 1 << 4,      /* timed out */
    FAULT_NONSENSE = 1 << 5,     /* no reply, or none to this command */
    FAULT_OWN_NAME = 1 << 6,     /* the greeting has our host name, or the hosts
                                 * that are left are this system */
    FAULT_TWO_MAILS = 1 << 7,    /* MAIL of two messages in a row refused */
    FAULT_THREE_LOST = 1 << 8,   /* three messages lost a session each */
    FAULT_NO_ANSWER = 1 << 9,    /* SERVFAIL, silence */
    FAULT_NO_HOST = 1 << 10,     /* the DNS knows none that can be used */
    FAULT_UNREADABLE = 1 << 11,  /* damaged, or the disk fails */
    FAULT_OURS = 1 << 12,        /* no memory, or no more time to stop */
    FAULT_UNUSABLE = 1 << 13,    /* REFUSED, malformed, a loop of CNAMEs */
    FAULT_NOT_OFFERED = 1 << 14, /* STARTTLS, which this mail demands */
    FAULT_CERTIFICATE = 1 << 15, /* it is not one that this mail demands */
    FAULT_RECORD = 1 << 16,      /* what came is not TLS; nothing was delivered
                                  * in this session */

    FAULT_SOFT = FAULT_4XX | FAULT_421,
    FAULT_REPLY = FAULT_4XX | FAULT_5XX,
    FAULT_REFUSED = FAULT_SOFT | FAULT_5XX,
    FAULT_NO_REPLY = FAULT_DROP | FAULT_SILENCE,
    FAULT_NOT_NOW = FAULT_SOFT | FAULT_NO_REPLY,
    FAULT_LOST = FAULT_NO_REPLY | FAULT_NONSENSE,
    FAULT_NO_TLS = FAULT_REFUSED | FAULT_LOST | FAULT_RECORD,
    FAULT_NO_HANDSHAKE = FAULT_LOST | FAULT_RECORD,
    FAULT_NO_TALK = FAULT_REFUSED | FAULT_LOST,
    FAULT_IN_A_ROW = FAULT_TWO_MAILS | FAULT_THREE_LOST,
    FAULT_NO_HELP = FAULT_NO_ANSWER | FAULT_UNUSABLE,
    FAULT_NOWHERE = FAULT_NO_HOST | FAULT_OWN_NAME,
    FAULT_ANYTHING = (1 << 17) - 1
};
#endif
