/* transaction.c - one message on a session: commands, body, replies.
 *
 * A transaction covers the recipients of a delivery that have no answer yet, as
 * many as the peer takes; the rest (452 after some were taken) makes another
 * transaction of the same delivery. */
#include "send/transaction.h"

#include "base/buf.h"
#include "send/session_auth.h"
#include "send/session_fault.h"
#include "send/session_tls.h"
#include "smtp/dsn.h"
#include "spool/format.h"

#include <stdarg.h>
#include <string.h>

enum { COMMAND_MAX = 2048, PIECE = 16 * 1024 };

void send_transaction_put(struct send_session *s, const char *p, size_t n)
{
    if (!conn_write(&s->conn, p, n))
        s->out_failed = true;
}

void send_transaction_command(struct send_session *s, const char *fmt, ...)
{
    char line[COMMAND_MAX];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line - 2, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line - 2) {
        s->out_failed = true; /* cannot happen: the parts are bounded */
        return;
    }
    memcpy(line + n, "\r\n", 2);
    send_transaction_put(s, line, (size_t)n + 2);
}

static bool has(const struct send_session *s, unsigned ext)
{
    return (s->ext.bits & ext) != 0;
}

/* Of limits, 0 is none. */
static unsigned least(unsigned a, unsigned b)
{
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* Exim delivers only the first ten messages of a session at once; those behind
 * wait for its next queue run (smtp_accept_queue_per_connection). */
enum { EXIM_MESSAGES = 10 };

static unsigned message_limit(const struct send_session *s)
{
    unsigned limit = least(least(s->ext.limit_mail, s->env->messages),
                           s->end.learned.messages);

    return s->is_exim ? least(limit, EXIM_MESSAGES) : limit;
}

struct delivery *send_transaction_next(const struct send_session *s)
{
    unsigned limit = message_limit(s);

    if (s->stopping || list_empty(&s->deliveries) ||
        (limit > 0 && s->messages >= limit))
        return NULL;
    return LIST_ENTRY(s->deliveries.next, struct delivery, link);
}

static bool is_open(const struct delivery_rcpt *r)
{
    return r->step == STEP_LEFT && !send_session_has_answer(r);
}

static bool is_too_big(const struct send_session *s, const struct delivery *j)
{
    return has(s, SMTP_EXT_SIZE) && s->ext.size > 0 &&
           j->body.size > s->ext.size;
}

/* RFC 6531 3.2: the sender's address or a header field is in UTF-8. */
static bool message_needs_utf8(const struct delivery *j)
{
    return j->sender_utf8 || (j->flags & SPOOL_UTF8_HEADER) != 0;
}

static enum eight_bit look_for_eight_bit(const struct body *b)
{
    struct body_cursor c = { 0 };
    char piece[PIECE];
    ssize_t n;

    while ((n = body_next(b, &c, piece, sizeof piece)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (((unsigned char)piece[i] & 0x80) != 0)
                return EIGHT_BIT_YES;
    return EIGHT_BIT_NO; /* one that cannot be read is not refused for that */
}

/* RFC 6152 3: without 8BITMIME a text that was declared as eight-bit and is may
 * not be sent as it is.  Few hosts lack it, so the text is read only for
 * them. */
static bool is_eight_bit(const struct send_session *s, struct delivery *j)
{
    if (has(s, SMTP_EXT_8BITMIME) || (j->flags & SPOOL_8BIT) == 0)
        return false;
    if (j->eight_bit == EIGHT_BIT_UNKNOWN)
        j->eight_bit = (unsigned char)look_for_eight_bit(&j->body);
    return j->eight_bit == EIGHT_BIT_YES;
}

enum misfit { FITS, NEEDS_TLS, TOO_BIG, NEEDS_UTF8, NEEDS_8BIT };

static enum misfit misfit_of(const struct send_session *s, struct delivery *j,
                             const struct delivery_rcpt *r)
{
    bool utf8 = message_needs_utf8(j) || r->utf8;

    if (!is_open(r))
        return FITS;
    return !send_tls_fits(s, j, r)              ? NEEDS_TLS
           : is_too_big(s, j)                   ? TOO_BIG
           : utf8 && !has(s, SMTP_EXT_SMTPUTF8) ? NEEDS_UTF8
           : is_eight_bit(s, j)                 ? NEEDS_8BIT
                                                : FITS;
}

bool send_transaction_has_misfits(const struct send_session *s,
                                  struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++)
        if (misfit_of(s, j, &j->rcpt[i]) != FITS)
            return true;
    return false;
}

static void settle(struct send_session *s, struct delivery *j);

/* Without its signature (DKIM) it may have fitted; it never goes without. */
static void set_too_big(const struct send_session *s, const struct delivery *j,
                        struct answer *a)
{
    char ours[64] = "";

    if (j->body.size - j->body.nhead <= s->ext.size)
        snprintf(ours, sizeof ours, " by our DKIM signature of %zu octets",
                 j->body.nhead);
    answer_set(a, OUTCOME_FAILED, "5.3.4",
               "message size %llu exceeds size limit %llu of the host%s",
               (unsigned long long)j->body.size, s->ext.size, ours);
}

void send_transaction_refuse_misfits(struct send_session *s, struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++) {
        struct delivery_rcpt *r = &j->rcpt[i];
        switch (misfit_of(s, j, r)) {
        case FITS: continue;
        case NEEDS_TLS: send_tls_refuse(s, j, r); continue;
        case TOO_BIG: set_too_big(s, j, &r->answer); break;
        case NEEDS_UTF8:
            answer_set(&r->answer, OUTCOME_FAILED, "5.6.7",
                       "SMTPUTF8 is required, but was not offered by host %s",
                       s->host);
            break;
        case NEEDS_8BIT:
            answer_set(&r->answer, OUTCOME_FAILED, "5.6.3",
                       "8BITMIME is required, but was not offered by host %s",
                       s->host);
            break;
        }
        r->effect = MAIL_BOUNCES;
    }
    settle(s, j);
}

/* --- commands ----------------------------------------------------------- --*/

static bool needs_utf8(const struct delivery *j)
{
    if (message_needs_utf8(j))
        return true;
    for (size_t i = 0; i < j->nrcpt; i++)
        if (j->rcpt[i].utf8)
            return true;
    return false;
}

static void write_mail(struct send_session *s, const struct delivery *j)
{
    bool dsn = has(s, SMTP_EXT_DSN);
    char size[32] = "";

    if (has(s, SMTP_EXT_SIZE))
        snprintf(size, sizeof size, " SIZE=%llu",
                 (unsigned long long)j->body.size);
    bool eight = has(s, SMTP_EXT_8BITMIME) && (j->flags & SPOOL_8BIT) != 0;
    bool utf8 = has(s, SMTP_EXT_SMTPUTF8) && needs_utf8(j);
    send_transaction_command(s, "MAIL FROM:<%s>%s%s%s%s%s%s%s", j->sender, size,
                             eight ? " BODY=8BITMIME" : "",
                             utf8 ? " SMTPUTF8" : "",
                             dsn && j->ret != NULL ? " RET=" : "",
                             dsn && j->ret != NULL ? j->ret : "",
                             dsn && j->envid != NULL ? " ENVID=" : "",
                             dsn && j->envid != NULL ? j->envid : "");
}

/* RFC 3461 5.2.1: ORCPT as received.  A request without it gets one, so that
 * the notice has the address that its sender knows, whatever aliases follow.
 * In ASCII it may go to any host (RFC 6533 3). */
static void put_orcpt(struct buf *b, const struct delivery_rcpt *r)
{
    char value[COMMAND_MAX];
    struct buf v = BUF_ON(value);

    if (r->orcpt == NULL)
        smtp_dsn_put_orcpt(&v, span_of(r->address));
    else
        smtp_dsn_put_ascii(&v, span_of(r->orcpt));
    if (v.n <= SMTP_ORCPT_MAX)
        buf_addf(b, " ORCPT=%s", value);
}

static void write_one_rcpt(struct send_session *s, struct delivery_rcpt *r)
{
    char params[SMTP_ORCPT_MAX + SMTP_NOTIFY_MAX + 32];
    struct buf b = BUF_ON(params);

    params[0] = '\0';
    if (has(s, SMTP_EXT_DSN) && r->notify != NULL)
        buf_addf(&b, " NOTIFY=%s", r->notify);
    if (has(s, SMTP_EXT_DSN) && (r->notify != NULL || r->orcpt != NULL))
        put_orcpt(&b, r);
    send_transaction_command(s, "RCPT TO:<%s>%s", r->address, params);
    r->step = STEP_SAID;
}

static unsigned rcpt_limit(const struct send_session *s)
{
    /* without PIPELINING it costs nothing to find out */
    unsigned learned = has(s, SMTP_EXT_PIPELINING) ? s->end.learned.rcpts : 0;

    return least(DELIVERY_RCPT_MAX, least(s->ext.limit_rcpt, learned));
}

static struct delivery_rcpt *next_open(struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++)
        if (is_open(&j->rcpt[i]))
            return &j->rcpt[i];
    return NULL;
}

bool send_transaction_has_remainder(const struct send_session *s)
{
    return next_open(s->cur) != NULL;
}

void send_transaction_envelope(struct send_session *s, struct delivery *j)
{
    unsigned limit = rcpt_limit(s);

    s->messages++;
    j->said = 0;
    write_mail(s, j);
    for (size_t i = 0; i < j->nrcpt && j->said < limit; i++)
        if (is_open(&j->rcpt[i])) {
            write_one_rcpt(s, &j->rcpt[i]);
            j->said++;
        }
}

/* RFC 2920: DATA ends the group; nothing may follow it before its reply. */
static void write_group(struct send_session *s, struct delivery *j)
{
    send_transaction_envelope(s, j);
    send_transaction_command(s, "DATA");
}

void send_transaction_await(struct send_session *s, struct delivery *j)
{
    s->cur = j;
    s->said = s->waiting = j->said;
    s->accepted = s->taken = 0;
    s->answered = s->refused = s->full = s->displaced = false;
    s->asking = 0;
}

struct delivery *send_transaction_pop(struct list *deliveries)
{
    return LIST_ENTRY(list_pop(deliveries), struct delivery, link);
}

void send_transaction_begin(struct send_session *s)
{
    struct delivery *j = send_transaction_pop(&s->deliveries);

    s->piped = has(s, SMTP_EXT_PIPELINING);
    j->said = 0;
    if (s->piped) {
        write_group(s, j);
    } else {
        s->messages++;
        write_mail(s, j);
    }
    send_transaction_await(s, j);
}

void send_transaction_begin_ahead(struct send_session *s)
{
    struct delivery *j = send_transaction_pop(&s->deliveries);

    write_group(s, j);
    list_push(&s->ahead, &j->link);
}

void send_transaction_take_ahead(struct send_session *s)
{
    s->piped = true;
    send_transaction_await(s, send_transaction_pop(&s->ahead));
}

bool send_transaction_more_rcpts(const struct send_session *s)
{
    return !s->piped && !s->full && s->said < rcpt_limit(s) &&
           next_open(s->cur) != NULL;
}

void send_transaction_rcpt(struct send_session *s)
{
    write_one_rcpt(s, next_open(s->cur));
    s->said++;
    s->waiting++;
}

/* --- answers ------------------------------------------------------------ --*/

void send_transaction_take_answer(const struct send_session *s,
                                  struct answer *a)
{
    const struct smtp_reply *r = &s->reply;

    a->outcome = r->status.code < 400   ? OUTCOME_DELIVERED
                 : r->status.code < 500 ? OUTCOME_DEFERRED
                                        : OUTCOME_FAILED;
    a->damaged = a->misconfigured = a->greylisted = false;
    a->again = a->refusal = 0;
    a->status = r->status;
    answer_set_text(a, r->text);
    if (s->cur != NULL && r->status.code >= 400)
        delivery_keep_reply(s->cur, r->text);
}

/* A limit that may be one is tried by the first MAIL of a session: taken, it is
 * one; refused, it is the message. */
static void confirm_limit(struct send_session *s, bool taken)
{
    struct send_limits *known = &s->end.learned;

    if (s->mails++ > 0 || known->tried_messages == 0)
        return;
    if (taken && msg_id_eq(known->tried_id, s->cur->id))
        known->messages = known->tried_messages;
    known->tried_messages = 0;
}

void send_transaction_note_mail(struct send_session *s)
{
    confirm_limit(s, true);
    s->end.refused = false;
    s->unsettled = false;
}

/* This is the answer for all recipients, and the replies to commands already
 * written mean nothing. */
void send_transaction_refuse_mail(struct send_session *s)
{
    struct answer why;
    const struct fault_rule *rule = send_session_blame(s, &why);

    confirm_limit(s, false);
    s->refused = true;
    send_session_charge(s, s->cur, rule, &why);
}

static void judge_rcpt(struct send_session *s, struct delivery_rcpt *r)
{
    struct answer why;

    if (send_session_has_answer(r)) {
        r->step = STEP_DONE;
    } else if (s->refused) {
        r->step = STEP_LEFT;
    } else if (s->event == E_2XX) {
        r->step = STEP_TAKEN;
        s->taken++;
        if (r->effect == MAIL_AGAIN && s->tried_rcpts > 0)
            s->end.learned.rcpts =
                s->taken > s->tried_rcpts ? s->taken : s->tried_rcpts;
    } else if (s->displaced) {
        r->step = STEP_LEFT;
    } else {
        const struct fault_rule *rule = send_session_blame(s, &why);
        send_session_answer(r, rule, &why);
        s->full |= rule->mail == MAIL_AGAIN;
    }
}

struct delivery_rcpt *send_transaction_asked(struct send_session *s)
{
    struct delivery *j = s->cur;

    s->waiting--;
    while (s->asking < j->nrcpt && j->rcpt[s->asking].step != STEP_SAID)
        s->asking++;
    return s->asking < j->nrcpt ? &j->rcpt[s->asking++] : NULL;
}

void send_transaction_note_rcpt(struct send_session *s)
{
    struct delivery_rcpt *r = send_transaction_asked(s);

    if (r != NULL)
        judge_rcpt(s, r);
    s->accepted += s->event == E_2XX;
}

static void take_one(struct send_session *s, struct delivery_rcpt *r)
{
    r->step = STEP_DONE;
    send_transaction_take_answer(s, &r->answer);
}

size_t send_transaction_finals(const struct send_session *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->cur->nrcpt; i++)
        n += s->cur->rcpt[i].step == STEP_TAKEN;
    return n;
}

void send_transaction_note_final(struct send_session *s)
{
    struct delivery_rcpt *r = s->cur->rcpt;
    struct answer why;

    while (r->step != STEP_TAKEN) /* there are two at least */
        r++;
    if (s->event == E_2XX) {
        take_one(s, r);
        return;
    }
    const struct fault_rule *rule = send_session_blame(s, &why);
    send_session_answer(r, rule, &why);
}

static void take(struct send_session *s)
{
    for (size_t i = 0; i < s->cur->nrcpt; i++)
        if (s->cur->rcpt[i].step == STEP_TAKEN)
            take_one(s, &s->cur->rcpt[i]);
    s->end.delivered += s->taken > 0;
    s->end.refused = false;
    if (s->chunks && s->taken > 0)
        s->end.learned.chunking = CHUNKING_WORKS;
}

void send_transaction_note_rest(struct send_session *s)
{
    struct answer why;

    if (s->event == E_2XX) {
        take(s);
        return;
    }
    if (s->taken == 0)
        return; /* all have their answers */
    const struct fault_rule *rule =
        s->displaced ? NULL : send_session_blame(s, &why);
    for (size_t i = 0; i < s->cur->nrcpt; i++) {
        struct delivery_rcpt *r = &s->cur->rcpt[i];
        if (r->step == STEP_TAKEN && rule == NULL)
            r->step = STEP_LEFT;
        else if (r->step == STEP_TAKEN)
            send_session_answer(r, rule, &why);
    }
}

/* --- the end ------------------------------------------------------------ --*/

static void set_effect(const struct send_session *s, const struct delivery *j,
                       struct delivery_rcpt *r)
{
    if (send_session_has_answer(r) || r->effect == MAIL_AGAIN)
        return;
    r->effect = (unsigned char)s->end.mail;
    if (send_tls_shuts_out(s, j, r))
        r->effect = MAIL_SHUT_OUT;
    else if (send_auth_ended(s) && !send_auth_failed(s, r))
        r->effect = MAIL_UNTOUCHED;
    if (r->effect != MAIL_SHUT_OUT && r->effect != MAIL_NO_LOGIN)
        return;
    r->answer = s->end.why;
    r->answer.outcome = OUTCOME_NONE;
    r->answer.misconfigured = false;
}

void send_transaction_give_back(struct send_session *s, struct delivery *j)
{
    memcpy(j->sid, s->sid, sizeof j->sid);
    j->dsn_passed = has(s, SMTP_EXT_DSN);
    send_tls_note(s, j);
    for (size_t i = 0; i < j->nrcpt; i++)
        set_effect(s, j, &j->rcpt[i]);
    s->env->done(s->env->ctx, j);
}

/* A delivery in s->deliveries with answers for some recipients. */
static void settle(struct send_session *s, struct delivery *j)
{
    if (next_open(j) != NULL)
        return;
    list_remove(&j->link);
    send_transaction_give_back(s, j);
}

void send_transaction_finish(struct send_session *s)
{
    struct delivery *j = s->cur;

    s->cur = NULL;
    if (next_open(j) == NULL)
        send_transaction_give_back(s, j);
    else if (s->stopping || s->displaced)
        list_push(&s->left, &j->link); /* others in flight may join it */
    else
        list_push_front(&s->deliveries, &j->link);
}

void send_transaction_recall(struct send_session *s)
{
    list_splice(&s->left, &s->deliveries);
    list_splice(&s->deliveries, &s->left);
}

void send_transaction_abandon(struct send_session *s)
{
    if (s->cur != NULL)
        list_push(&s->left, &s->cur->link);
    s->cur = NULL;
    list_splice(&s->left, &s->ahead);
    send_transaction_recall(s);
    while (!list_empty(&s->deliveries))
        send_transaction_give_back(s, send_transaction_pop(&s->deliveries));
}
