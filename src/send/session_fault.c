/* session_fault.c - a session's failures, judged and acted on: the table of
 * fault.c decides, nothing here does. */
#include "send/session_fault.h"

#include "log/log.h"
#include "send/session_auth.h"
#include "send/session_tls.h"
#include "send/transaction.h"

#include <errno.h>
#include <string.h>

/* --- the failure in hand ------------------------------------------------ */

/* clang-format off */
static const struct {
    enum fault_when when;
    const char *doing;
} about[S_COUNT] = {
    [S_DIAL]   = { FAULT_CONNECT,  "connecting" },
    [S_WRAP]   = { FAULT_CONNECT,  "performing the TLS handshake" },
    [S_GREET]  = { FAULT_GREETING, "receiving the initial server greeting" },
    [S_EHLO]   = { FAULT_EHLO,     "performing the EHLO handshake" },
    [S_STARTTLS] = { FAULT_TLS,    "sending STARTTLS" },
    [S_HANDSHAKE] = { FAULT_TLS,   "performing the TLS handshake" },
    [S_EHLO_TLS] = { FAULT_EHLO,   "performing the EHLO handshake behind TLS" },
    [S_HELO]   = { FAULT_EHLO,     "performing the HELO handshake" },
    [S_AUTH]   = { FAULT_AUTH,     "sending AUTH" },
    [S_IDLE]   = { FAULT_RSET,     "idle" },
    [S_MAIL]   = { FAULT_MAIL,     "sending MAIL FROM" },
    [S_RCPT]   = { FAULT_RCPT,     "sending RCPT TO" },
    [S_DATA]   = { FAULT_DATA,     "sending DATA command" },
    [S_BODY]   = { FAULT_TEXT,     "sending message body" },
    [S_DOT]    = { FAULT_END,      "sending end of data -- "
                                   "message may be sent more than once" },
    [S_CHUNK]  = { FAULT_END,      "sending end of data -- "
                                   "message may be sent more than once" },
    [S_VOID]   = { FAULT_END,      "sending end of data for no recipients" },
    [S_SETTLE] = { FAULT_END,      "sending QUIT behind a broken reply" },
    [S_RSET]   = { FAULT_RSET,     "sending RSET" },
    [S_QUIT]   = { FAULT_RSET,     "sending QUIT" },
    [S_END]    = { FAULT_RSET,     "ended" },
};
/* clang-format on */

static bool is_refusal(enum fault_what what)
{
    return (what & FAULT_REFUSED) != 0;
}

/* What is behind the handshake shows whether TLS works, but a reply is the
 * host's. */
static enum fault_when when_of(const struct send_session *s,
                               enum fault_what what)
{
    if (s->was == S_EHLO_TLS && !is_refusal(what))
        return FAULT_TLS;
    return s->was == S_CHUNK && s->sending == s->cur ? FAULT_TEXT
                                                     : about[s->was].when;
}

/* TLS itself failed, and not yet behind a delivery: the host may have one that
 * never works.  No text has been taken that could be sent a second time.  Where
 * TLS comes first the host has no other session to offer. */
static bool is_broken_tls(const struct send_session *s)
{
    return conn_tls_error(&s->conn) != NULL && s->conn.error == EPROTO &&
           s->end.delivered == 0 && about[s->was].when != FAULT_END &&
           !send_tls_is_first(s);
}

/* Our memory ended the handshake: no reason to go on in clear. */
static bool is_out_of_blocks(const struct send_session *s)
{
    return (s->was == S_HANDSHAKE || s->was == S_WRAP) &&
           s->conn.error == ENOBUFS;
}

static enum fault_what what_of(const struct send_session *s)
{
    switch (s->event) {
    case E_2XX: return s->was == S_GREET ? FAULT_OWN_NAME : FAULT_NONSENSE;
    case E_4XX: return FAULT_4XX;
    case E_5XX: return FAULT_5XX;
    case E_421: return FAULT_421;
    case E_CLOSED:
        return s->out_failed || is_out_of_blocks(s) ? FAULT_OURS
               : is_broken_tls(s)                   ? FAULT_RECORD
                                                    : FAULT_DROP;
    case E_TIMEOUT: return FAULT_SILENCE;
    case E_KILL: return FAULT_OURS;
    default: return FAULT_NONSENSE;
    }
}

/* An enhanced code of another class than the reply's is not its status
 * (RFC 2034), but "550 4.7.28" is still a host that wants less mail. */
static struct smtp_status status_of(const struct smtp_reply *r)
{
    struct smtp_status status = r->status;
    struct span text = span_of(r->text);

    if (status.class == 0)
        (void)smtp_status_take(&status, &text);
    return status;
}

static const char *in_words(const struct send_session *s, char *room, size_t n)
{
    switch (s->event) {
    case E_CLOSED:
        if (s->out_failed)
            return "no memory for output";
        if (conn_tls_error(&s->conn) != NULL &&
            conn_tls_error(&s->conn)[0] != '\0')
            return conn_tls_error(&s->conn);
        if (s->conn.error == 0)
            return "lost connection";
        if (strerror_r(s->conn.error, room, n) != 0)
            snprintf(room, n, "error %d", s->conn.error);
        return room;
    case E_TIMEOUT: return "timed out";
    case E_KILL: return "interrupted by our shutdown";
    case E_BROKEN: return "broken reply";
    default:
        if (s->was == S_DATA && s->event == E_3XX && s->more_input)
            return "a reply ahead of its command";
        snprintf(room, n, "unexpected reply %d", s->reply.status.code);
        return room;
    }
}

static void set_login(const struct send_session *s, struct answer *why)
{
    const struct smtp_reply *r = &s->reply;

    answer_set(why, OUTCOME_NONE, "4.3.5",
               "next hop of our settings asks for a login: %u %s",
               r->status.code, r->text);
    why->status.code = r->status.code; /* a peer wants it, not our disk */
}

/* Mail that demands TLS has this as its answer. */
static void set_tls(const struct send_session *s, enum fault_what what,
                    struct answer *why)
{
    const struct smtp_reply *r = &s->reply;
    char room[100];

    if (is_refusal(what))
        answer_set(why, OUTCOME_DEFERRED, "4.7.4",
                   "cannot start TLS: host %s refused: %u %s", s->host,
                   r->status.code, r->text);
    else
        answer_set(why, OUTCOME_DEFERRED, "4.7.4",
                   "cannot start TLS with host %s: %s while %s", s->host,
                   in_words(s, room, sizeof room), about[s->was].doing);
}

static void set_reason(const struct send_session *s, enum fault_what what,
                       const struct fault_rule *rule, struct answer *why)
{
    char room[100];

    if (what == FAULT_OWN_NAME)
        answer_set(why, OUTCOME_DEFERRED, "4.4.6",
                   "host greets with our own name: mail loops back to us");
    else if (rule->mail == MAIL_NO_LOGIN || rule->whose == WHOSE_LOGIN)
        send_auth_set_reason(s, rule, why);
    else if (rule->whose == WHOSE_PROFILE)
        set_tls(s, what, why);
    else if (!is_refusal(what))
        answer_set(why, OUTCOME_DEFERRED,
                   s->event == E_KILL ? "4.3.2"
                   : s->was == S_DIAL ? "4.4.1"
                                      : "4.4.2",
                   "%s while %s", in_words(s, room, sizeof room),
                   about[s->was].doing);
    else if (rule->mail == MAIL_WAITS)
        set_login(s, why);
    else
        send_transaction_take_answer(s, why);
    if (rule->mail != MAIL_BOUNCES && why->outcome == OUTCOME_FAILED)
        why->outcome = OUTCOME_DEFERRED;
}

static enum refusal_at place_of(enum fault_when when)
{
    return (when & FAULT_HELLO) != 0 ? REFUSAL_AT_HELLO
           : when == FAULT_MAIL      ? REFUSAL_AT_MAIL
                                     : REFUSAL_AT_RCPT;
}

const struct fault_rule *send_session_judge(const struct send_session *s,
                                            struct answer *why)
{
    enum fault_what what = what_of(s);
    struct fault f = {
        .when = when_of(s, what),
        .what = what,
        .delivered = s->end.delivered > 0,
        .unanswered = !s->answered,
        .leaving = s->end.lane >= LANE_LEAVES,
        .some_taken = s->taken > 0 && !s->displaced,
        .chunked = s->chunks,
        .chunks_work = s->end.learned.chunking == CHUNKING_WORKS,
        .configured = s->cur != NULL && send_delivery_of(s->cur)->configured,
        .lmtp = s->end.learned.lmtp,
        .may = s->tls.may,
        .token =
            s->auth.exchange != NULL && sasl_takes_token(s->auth.mechanism),
        .resumes = s->tls.resume != NULL && s->was != S_STARTTLS,
    };

    if (is_refusal(what)) {
        f.status = status_of(&s->reply);
        /* a mailbox store is no stranger that has to be spared */
        if (!f.lmtp)
            f.refusal = refusal_read(&f.status, s->reply.text,
                                     s->end.learned.group, place_of(f.when));
    }
    const struct fault_rule *rule = fault_judge(&f);
    if (why != NULL) {
        set_reason(s, what, rule, why);
        why->greylisted = f.refusal.kind == REFUSAL_GREYLISTED;
        why->refusal = (unsigned char)f.refusal.kind;
        why->again = f.refusal.seconds;
    }
    return rule;
}

/* --- the lane's column -------------------------------------------------- */

/* The host may have a limit of messages at those before this one. */
static void suppose_limit(struct send_session *s)
{
    s->end.learned.tried_messages = s->mails;
    s->end.learned.tried_id = s->cur->id;
}

static void learn(struct send_session *s, const struct fault_rule *rule)
{
    if (rule->whose == WHOSE_CHUNKING)
        s->end.learned.chunking = CHUNKING_BROKEN;
    else if (rule->whose == WHOSE_PROFILE)
        s->end.learned.no_tls = true;
    else if (rule->whose == WHOSE_LIMIT && s->was == S_RCPT && !s->full)
        s->tried_rcpts = s->accepted; /* one, if the rest is taken next */
    else if (rule->whose == WHOSE_LIMIT && s->was == S_MAIL &&
             s->end.lane < LANE_LEAVES)
        suppose_limit(s);
}

/* For mail that demands TLS the main thread reports it. */
static void log_clear(const struct send_session *s)
{
    char address[ADDR_PORT_TEXT];

    addr_port_text(address, &s->peer);
    LOG(LOG_WARN, "send.tls_failed", LS("sid", s->sid), LS("mx", s->host),
        LS("address", address), LS("error", s->end.why.text),
        LN("clear", LIMITS_CLEAR_SECONDS));
}

void send_session_follow(struct send_session *s, const struct fault_rule *rule,
                         const struct answer *why)
{
    learn(s, rule);
    s->end.unanswered |= s->was == S_DIAL && s->conn.error == ECONNREFUSED;
    if (rule->lane < LANE_LEAVES)
        return;
    s->stopping = true;
    if (rule->lane <= s->end.lane)
        return;
    s->end.lane = rule->lane;
    s->end.why = *why;
    s->end.local = rule->whose == WHOSE_US && rule->lane == LANE_REOPENS;
    s->tls.failed = rule->whose == WHOSE_PROFILE;
    s->tls.stale = rule->whose == WHOSE_TICKET;
    s->end.fault =
        (rule->lane >= LANE_REOPENS || rule->mail == MAIL_LOOPS ||
         s->tls.failed || s->tls.stale || rule->whose == WHOSE_LOGIN) &&
        s->event != E_KILL;
    if (s->tls.failed && s->tls.may)
        log_clear(s);
    if (rule->mail == MAIL_MOVES_ON || rule->mail == MAIL_LOOPS ||
        rule->mail == MAIL_NO_LOGIN || rule->whose == WHOSE_LOGIN)
        s->end.mail = rule->mail;
}

/* MAIL was refused, RCPT and DATA were not: the refusal stands. */
static bool is_late_354(const struct send_session *s)
{
    return s->refused && s->was == S_DATA && s->event == E_3XX;
}

const struct fault_rule *send_session_blame(struct send_session *s,
                                            struct answer *why)
{
    const struct fault_rule *rule = send_session_judge(s, why);

    s->garbled |= what_of(s) == FAULT_NONSENSE && !is_late_354(s);
    send_session_follow(s, rule, why);
    return rule;
}

/* --- the mail's column -------------------------------------------------- */

bool send_session_has_answer(const struct delivery_rcpt *r)
{
    return r->answer.outcome != OUTCOME_NONE || r->answer.misconfigured ||
           r->effect == MAIL_SHUT_OUT || r->effect == MAIL_MISFIT;
}

void send_session_answer(struct delivery_rcpt *r, const struct fault_rule *rule,
                         const struct answer *why)
{
    r->effect = (unsigned char)rule->mail;
    r->step = STEP_DONE;
    switch (rule->mail) {
    case MAIL_BOUNCES:
        r->answer = *why;
        r->answer.outcome = OUTCOME_FAILED;
        break;
    case MAIL_WAITS:
        r->answer = *why;
        r->answer.outcome = OUTCOME_NONE;
        r->answer.misconfigured = true;
        break;
    case MAIL_ATTEMPT:
    case MAIL_SUSPECT:
    case MAIL_NEXT_MX:
        r->answer = *why;
        r->answer.outcome = OUTCOME_DEFERRED;
        break;
    case MAIL_SHUT_OUT:
        r->answer = *why;
        r->answer.outcome = OUTCOME_NONE;
        break;
    default: /* not answered */
        r->answer.outcome = OUTCOME_NONE;
        r->step = STEP_LEFT;
    }
}

/* Replies out of step with the commands may have been attributed to the wrong
 * recipients: a permanent refusal then only defers. */
static bool is_doubtful(const struct send_session *s,
                        const struct delivery_rcpt *r)
{
    return s->garbled && r->answer.outcome == OUTCOME_FAILED;
}

/* Recipients beyond those of the transaction pay only when the message itself
 * is refused, or suspected. */
static bool is_spared(const struct send_session *s,
                      const struct delivery_rcpt *r,
                      const struct fault_rule *rule)
{
    return r->step == STEP_LEFT && s->was != S_MAIL &&
           rule->mail != MAIL_SUSPECT;
}

/* MAIL of two messages in a row was refused, so it is not for the message. */
static void note_refusal(struct send_session *s, struct msg_id id,
                         const struct answer *why)
{
    const struct fault two = { .when = FAULT_SESSIONS,
                               .what = FAULT_TWO_MAILS };

    if (s->end.refused && !msg_id_eq(s->end.refused_id, id))
        send_session_follow(s, fault_judge(&two), why);
    if (s->end.lane < LANE_LEAVES)
        s->end.why = *why; /* the lane may see the first one of a session */
    s->end.refused = true;
    s->end.refused_id = id;
}

void send_session_charge(struct send_session *s, struct delivery *j,
                         const struct fault_rule *rule,
                         const struct answer *why)
{
    if (s->was == S_MAIL && (s->event == E_4XX || s->event == E_421) &&
        rule->mail == MAIL_ATTEMPT && rule->whose == WHOSE_MESSAGE)
        note_refusal(s, j->id, why);
    if (rule->whose == WHOSE_PROFILE)
        return; /* each by what it accepts, when it is given back */
    for (size_t i = 0; i < j->nrcpt; i++) {
        struct delivery_rcpt *r = &j->rcpt[i];
        if ((send_session_has_answer(r) || is_spared(s, r, rule)) &&
            !is_doubtful(s, r))
            continue;
        send_session_answer(r, rule, why);
        if (r->answer.outcome == OUTCOME_NONE || rule->lane != LANE_REOPENS)
            continue;
        s->end.lost = true;
        s->end.lost_id = j->id;
    }
}

void send_session_lose(struct send_session *s)
{
    struct answer why;
    const struct fault_rule *rule = send_session_blame(s, &why);

    if (s->cur != NULL)
        send_session_charge(s, s->cur, rule, &why);
}
