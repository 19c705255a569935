/* transaction.c - one message on a session: commands, body, replies.
 *
 * A transaction covers the recipients of a delivery that have no answer yet, as
 * many as the peer takes; the rest (452 after some were taken) makes another
 * transaction of the same delivery. */
#include "send/transaction.h"

#include "spool/format.h"

#include <stdarg.h>
#include <string.h>

enum { COMMAND_MAX = 2048 };

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

struct delivery *send_transaction_next(const struct send_session *s)
{
    unsigned limit = s->ext.limit_mail; /* RFC 9422 MAILMAX */

    if (s->stopping || list_empty(&s->deliveries) ||
        (limit > 0 && s->messages >= limit))
        return NULL;
    return LIST_ENTRY(s->deliveries.next, struct delivery, link);
}

static bool is_open(const struct delivery_rcpt *r)
{
    return r->step == STEP_LEFT && r->answer.outcome == OUTCOME_NONE;
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

static bool is_misfit(const struct send_session *s, const struct delivery *j,
                      const struct delivery_rcpt *r)
{
    bool utf8 = message_needs_utf8(j) || r->utf8;

    return is_open(r) &&
           (is_too_big(s, j) || (utf8 && !has(s, SMTP_EXT_SMTPUTF8)));
}

bool send_transaction_chunks(const struct send_session *s)
{
    return has(s, SMTP_EXT_CHUNKING) && has(s, SMTP_EXT_PIPELINING);
}

bool send_transaction_has_misfits(const struct send_session *s,
                                  const struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++)
        if (is_misfit(s, j, &j->rcpt[i]))
            return true;
    return false;
}

static void settle(struct send_session *s, struct delivery *j);

void send_transaction_refuse_misfits(struct send_session *s, struct delivery *j)
{
    bool big = is_too_big(s, j);

    for (size_t i = 0; i < j->nrcpt; i++) {
        struct delivery_rcpt *r = &j->rcpt[i];
        if (!is_misfit(s, j, r))
            continue;
        if (big)
            answer_set(&r->answer, OUTCOME_FAILED, "5.3.4",
                       "message size %llu exceeds size limit %llu of the host",
                       (unsigned long long)j->body.size, s->ext.size);
        else
            answer_set(&r->answer, OUTCOME_FAILED, "5.6.7",
                       "SMTPUTF8 is required, but was not offered by host %s",
                       s->host);
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
    /* A peer without 8BITMIME gets eight-bit text all the same: docs/send.md.
     */
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

static void write_one_rcpt(struct send_session *s, struct delivery_rcpt *r)
{
    bool dsn = has(s, SMTP_EXT_DSN);

    send_transaction_command(s, "RCPT TO:<%s>%s%s%s%s", r->address,
                             dsn && r->notify != NULL ? " NOTIFY=" : "",
                             dsn && r->notify != NULL ? r->notify : "",
                             dsn && r->orcpt != NULL ? " ORCPT=" : "",
                             dsn && r->orcpt != NULL ? r->orcpt : "");
    r->step = STEP_SAID;
}

static unsigned rcpt_limit(const struct send_session *s)
{
    unsigned n = s->ext.limit_rcpt;

    return n > 0 && n < DELIVERY_RCPT_MAX ? n : DELIVERY_RCPT_MAX;
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
    s->answered = s->full = s->displaced = false;
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
    a->status = r->status;
    answer_set_text(a, r->text);
}

/* MAIL was refused: this is the answer for all recipients, and the replies to
 * commands already written mean nothing. */
void send_transaction_note_mail(struct send_session *s)
{
    for (size_t i = 0; i < s->cur->nrcpt; i++)
        if (s->cur->rcpt[i].answer.outcome == OUTCOME_NONE)
            send_transaction_take_answer(s, &s->cur->rcpt[i].answer);
}

/* RFC 5321 4.5.3.1.10: too many recipients is 452, and 552 means the same in
 * this place.  With some taken before, the others get a transaction of their
 * own at once. */
static bool is_full(const struct send_session *s)
{
    const struct smtp_reply *r = &s->reply;

    return (r->status.code == 452 || r->status.code == 552) && s->taken > 0 &&
           (r->status.class == 0 ||
            (r->status.subject == 5 && r->status.detail == 3));
}

static void judge_rcpt(struct send_session *s, struct delivery_rcpt *r)
{
    if (r->answer.outcome != OUTCOME_NONE) {
        r->step = STEP_DONE;
    } else if (s->reply.status.code < 300) {
        r->step = STEP_TAKEN;
        s->taken++;
    } else if (s->displaced) {
        r->step = STEP_LEFT;
    } else if (is_full(s)) {
        r->step = STEP_LEFT;
        s->full = true;
    } else {
        send_transaction_take_answer(s, &r->answer);
        if (s->reply.status.code == 552)
            r->answer.outcome = OUTCOME_DEFERRED;
        r->step = STEP_DONE;
    }
}

void send_transaction_note_rcpt(struct send_session *s)
{
    struct delivery *j = s->cur;

    while (s->asking < j->nrcpt && j->rcpt[s->asking].step != STEP_SAID)
        s->asking++;
    if (s->asking == j->nrcpt)
        return; /* cannot happen: one reply for one RCPT */
    s->accepted += s->reply.status.code < 300;
    judge_rcpt(s, &j->rcpt[s->asking]);
    s->asking++;
    s->waiting--;
}

void send_transaction_note_rest(struct send_session *s)
{
    for (size_t i = 0; i < s->cur->nrcpt; i++) {
        struct delivery_rcpt *r = &s->cur->rcpt[i];
        if (r->step != STEP_TAKEN)
            continue;
        r->step = STEP_DONE;
        if (s->displaced && s->reply.status.code >= 400)
            r->step = STEP_LEFT;
        else
            send_transaction_take_answer(s, &r->answer);
    }
}

/* --- the end ------------------------------------------------------------ --*/

static void give_back(struct send_session *s, struct delivery *j)
{
    memcpy(j->sid, s->sid, sizeof j->sid);
    j->dsn_passed = has(s, SMTP_EXT_DSN);
    s->env->done(s->env->ctx, j);
}

/* A delivery in s->deliveries with answers for some recipients. */
static void settle(struct send_session *s, struct delivery *j)
{
    if (next_open(j) != NULL)
        return;
    list_remove(&j->link);
    give_back(s, j);
}

void send_transaction_finish(struct send_session *s)
{
    struct delivery *j = s->cur;

    s->cur = NULL;
    if (next_open(j) != NULL)
        list_push_front(&s->deliveries, &j->link);
    else
        give_back(s, j);
}

/* Replies out of step with the commands may have been attributed to the wrong
 * recipients: a permanent refusal then only defers. */
static bool is_doubtful(const struct send_session *s,
                        const struct delivery_rcpt *r)
{
    return s->garbled && r->answer.outcome == OUTCOME_FAILED;
}

/* The session is lost.  A delivery that the peer has begun to answer counts as
 * tried; one without any reply is returned untouched. */
static void abandon_current(struct send_session *s)
{
    struct delivery *j = s->cur;

    for (size_t i = 0; s->answered && i < j->nrcpt; i++) {
        struct delivery_rcpt *r = &j->rcpt[i];
        if ((r->answer.outcome == OUTCOME_NONE && r->step != STEP_LEFT) ||
            is_doubtful(s, r))
            r->answer = s->end.why;
    }
    s->cur = NULL;
    give_back(s, j);
}

void send_transaction_abandon(struct send_session *s)
{
    if (s->cur != NULL)
        abandon_current(s);
    while (!list_empty(&s->ahead))
        give_back(s, send_transaction_pop(&s->ahead));
    while (!list_empty(&s->deliveries))
        give_back(s, send_transaction_pop(&s->deliveries));
}
