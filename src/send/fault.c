/* fault.c - the table "whose fault is it?". */
#include "send/fault.h"

#include <stddef.h>

/* --- only if -------------------------------------------------------------- */

/* A login is missing or was refused (RFC 4954). */
static bool asks_login(const struct fault *f)
{
    return f->configured && (f->status.code == 530 || f->status.code == 535);
}

/* The host wants less mail, or fewer sessions.  Where it may pass on what a
 * host behind it replied for one recipient: pace_signs.c. */
static bool in_words(const struct fault *f)
{
    return !f->refusal.of_recipient && (f->refusal.kind == REFUSAL_RATE ||
                                        f->refusal.kind == REFUSAL_SESSIONS);
}

static bool is_rate(const struct fault *f)
{
    return in_words(f) && f->refusal.by_code;
}

/* It takes nothing from our address. */
static bool is_stop(const struct fault *f)
{
    return f->refusal.kind == REFUSAL_BLOCKED;
}

static bool has_delivered(const struct fault *f)
{
    return f->delivered;
}

/* What is in flight behind the refusal that ends the session is refused for the
 * same reason, or out of confusion. */
static bool is_leaving(const struct fault *f)
{
    return f->leaving;
}

/* A host that closes after so many messages, without a word. */
static bool is_between(const struct fault *f)
{
    return f->delivered && f->unanswered;
}

/* RFC 5321 4.5.3.1.10: 452, and 552 means the same in this place; any reply
 * with X.5.3 (RFC 3463). */
static bool is_rcpt_limit(const struct fault *f)
{
    const struct smtp_status *s = &f->status;

    if (s->class != 0)
        return f->some_taken && s->subject == 5 && s->detail == 3;
    return f->some_taken && (s->code == 452 || s->code == 552);
}

static bool is_soft(const struct fault *f)
{
    return f->status.code < 500 || f->status.code == 552;
}

/* BDAT is offered and does not work: no chunk was ever accepted there. */
static bool knows_no_bdat(const struct fault *f)
{
    unsigned c = f->status.code;

    return f->chunked && f->some_taken && !f->chunks_work &&
           (c == 500 || (c >= 502 && c <= 504));
}

static bool dies_of_bdat(const struct fault *f)
{
    return f->chunked && f->some_taken && !f->chunks_work;
}

/* By LMTP each recipient has a reply of its own (RFC 2033 4.2). */
static bool is_lmtp(const struct fault *f)
{
    return f->lmtp;
}

static bool is_configured(const struct fault *f)
{
    return f->configured;
}

static bool may_be_clear(const struct fault *f)
{
    return f->may;
}

static bool is_token(const struct fault *f)
{
    return f->token;
}

/* A handshake in full may work. */
static bool resumes(const struct fault *f)
{
    return f->resumes;
}

/* --- the table: the first that fits --------------------------------------- */

#define ALWAYS NULL
#define ROW(when, what, only_if, whose, mail, lane)                            \
    {                                                                          \
        FAULT_##when, FAULT_##what, (only_if), WHOSE_##whose, MAIL_##mail,     \
            LANE_##lane, #only_if                                              \
    }

/* clang-format off */
static const struct fault_rule rules[] = {
    /*  when       what        only if        whose      its mail   lane */
    ROW(ANYWHERE,  OURS,       ALWAYS,        US,        UNTOUCHED, REOPENS),
    ROW(CONNECT,   LOST,       ALWAYS,        ADDRESS,   MOVES_ON,  SHUTS),
    ROW(GREETING,  OWN_NAME,   ALWAYS,        US,        LOOPS,     LEAVES),
    ROW(HELLO,     REFUSED,    is_stop,       PACE,      MOVES_ON,  STOPS),
    ROW(HELLO,     REFUSED,    in_words,      PACE,      MOVES_ON,  SLOWS),
    ROW(HELLO,     NO_TALK,    ALWAYS,        HOST,      MOVES_ON,  SHUTS),
    ROW(AUTH,      SOFT,       is_token,      SETTING,   NO_LOGIN,  LEAVES),
    ROW(AUTH,      NOT_NOW,    ALWAYS,        LOGIN,     SHUT_OUT,  LEAVES),
    ROW(AUTH,      NO_TALK,    ALWAYS,        SETTING,   NO_LOGIN,  LEAVES),

    ROW(TLS,       CERTIFICATE, ALWAYS,       DELIVERY,  SHUT_OUT,  GOES_ON),
    ROW(TLS,       NOT_OFFERED, ALWAYS,       PROFILE,   SHUT_OUT,  GOES_ON),
    ROW(TLS,       NO_HANDSHAKE, resumes,     TICKET,    UNTOUCHED, LEAVES),
    ROW(TLS,       NO_TLS,     may_be_clear,  PROFILE,   UNTOUCHED, LEAVES),
    ROW(TLS,       NO_TLS,     ALWAYS,        PROFILE,   SHUT_OUT,  LEAVES),
    ROW(BEHIND_TLS, RECORD,    may_be_clear,  PROFILE,   UNTOUCHED, LEAVES),
    ROW(BEHIND_TLS, RECORD,    ALWAYS,        PROFILE,   SHUT_OUT,  LEAVES),

    ROW(MAIL,      NO_TALK,    is_leaving,    LIMIT,     UNTOUCHED, LEAVES),
    ROW(ENVELOPE,  5XX,        asks_login,    SETTING,   WAITS,     GOES_ON),
    ROW(MAIL,      REFUSED,    is_stop,       PACE,      ATTEMPT,   STOPS),
    /* one of its domains may be all that refuses us: pace_signs.c */
    ROW(MESSAGE,   REFUSED,    is_stop,       PACE,      ATTEMPT,   LEAVES),
    ROW(MESSAGE,   REFUSED,    is_rate,       PACE,      ATTEMPT,   SLOWS),

    ROW(MAIL,      SOFT,       has_delivered, LIMIT,     UNTOUCHED, LEAVES),
    ROW(MAIL,      DROP,       is_between,    LIMIT,     UNTOUCHED, REOPENS),
    /* "too many messages" is first of all a limit of the session */
    ROW(MESSAGE,   REFUSED,    in_words,      PACE,      ATTEMPT,   SLOWS),
    ROW(MAIL,      421,        ALWAYS,        MESSAGE,   ATTEMPT,   REOPENS),
    ROW(MAIL,      4XX,        ALWAYS,        MESSAGE,   ATTEMPT,   GOES_ON),
    ROW(MAIL,      5XX,        ALWAYS,        MESSAGE,   BOUNCES,   GOES_ON),

    ROW(RCPT,      REPLY,      is_rcpt_limit, LIMIT,     AGAIN,     LEARNS),
    ROW(RCPT,      REPLY,      is_soft,       RECIPIENT, NEXT_MX,   GOES_ON),
    ROW(RCPT,      5XX,        ALWAYS,        RECIPIENT, BOUNCES,   GOES_ON),

    /* the host may have read the text as commands: no reply behind it counts */
    ROW(BODY,      5XX,        knows_no_bdat, CHUNKING,  AGAIN,     LEAVES),
    ROW(BODY,      DROP,       dies_of_bdat,  CHUNKING,  AGAIN,     REOPENS),
    ROW(END,       4XX,        is_lmtp,       RECIPIENT, ATTEMPT,   GOES_ON),
    ROW(END,       5XX,        is_lmtp,       RECIPIENT, BOUNCES,   GOES_ON),
    ROW(CONTENT,   4XX,        ALWAYS,        MESSAGE,   ATTEMPT,   GOES_ON),
    ROW(CONTENT,   5XX,        ALWAYS,        MESSAGE,   BOUNCES,   GOES_ON),

    ROW(BEHIND_MAIL, 421,      ALWAYS,        MESSAGE,   ATTEMPT,   REOPENS),
    ROW(END,       NO_REPLY,   ALWAYS,        MESSAGE,   ATTEMPT,   REOPENS),
    ROW(MESSAGE,   LOST,       ALWAYS,        MESSAGE,   SUSPECT,   REOPENS),
    ROW(RSET,      NO_TALK,    ALWAYS,        HOST,      UNTOUCHED, REOPENS),

    ROW(SESSIONS,  IN_A_ROW,   ALWAYS,        HOST,      KEEPS,     SHUTS),

    ROW(LOOK_UP,   NOWHERE,    is_configured, SETTING,   WAITS,     GOES_ON),
    ROW(LOOK_UP,   UNUSABLE,   is_configured, SETTING,   WAITS,     GOES_ON),
    ROW(LOOK_UP,   NO_HELP,    ALWAYS,        RESOLVER,  ROUND,     GOES_ON),
    ROW(LOOK_UP,   NOWHERE,    ALWAYS,        RECIPIENT, BOUNCES,   GOES_ON),

    ROW(QUEUE,     UNREADABLE, ALWAYS,        US,        WAITS,     CUTS),

    /* a hole in the above: it costs an attempt, and no mail */
    ROW(ANYWHERE,  ANYTHING,   ALWAYS,        MESSAGE,   ATTEMPT,   REOPENS),
};
/* clang-format on */

enum { NRULES = sizeof rules / sizeof rules[0] };

const struct fault_rule *fault_judge(const struct fault *f)
{
    const struct fault_rule *r = rules;

    while ((r->when & f->when) == 0 || (r->what & f->what) == 0 ||
           (r->only_if != NULL && !r->only_if(f)))
        r++;
    return r;
}

const struct fault_rule *fault_rules(unsigned *n)
{
    *n = NRULES;
    return rules;
}
