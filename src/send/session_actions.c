/* session_actions.c - the guards and actions of the client's session. */
#include "send/session_actions.h"

#include "send/session_private.h"
#include "send/transaction.h"

/* --- guards: change nothing ---------------------------------------------- */

bool send_guard_is_piped(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->piped;
}

bool send_guard_some_taken(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->taken > 0;
}

bool send_guard_none_accepted(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->accepted == 0;
}

/* A reply to a command that is not written yet. */
bool send_guard_is_early(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->more_input;
}

bool send_guard_has_delivery(const void *ctx)
{
    return send_transaction_next(ctx) != NULL;
}

bool send_guard_may_chunk(const void *ctx)
{
    return send_transaction_chunks(ctx) && send_guard_has_delivery(ctx);
}

bool send_guard_is_misfit(const void *ctx)
{
    const struct delivery *j = send_transaction_next(ctx);

    return j != NULL && send_transaction_has_misfits(ctx, j);
}

bool send_guard_has_ahead(const void *ctx)
{
    const struct send_session *s = ctx;

    return !list_empty(&s->ahead);
}

bool send_guard_is_chunked(const void *ctx)
{
    return send_transaction_chunks(ctx);
}

/* The last octet of the replied-to message has not been written yet. */
bool send_guard_is_sending(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->sending != NULL && s->sending == s->cur;
}

/* The peer refused a chunk and does not treat what followed as a new message
 * (RFC 3030 leaves open whether a failure ends the transaction). */
bool send_guard_is_displaced(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->unsettled && s->reply.status.code == 503;
}

bool send_guard_was_displaced(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->displaced;
}

/* The commands of the next message may share a write with the end of this
 * one (RFC 2920), unless this one needs another transaction first. */
bool send_guard_may_go_ahead(const void *ctx)
{
    const struct send_session *s = ctx;

    return (s->ext.bits & SMTP_EXT_PIPELINING) != 0 &&
           !send_guard_has_ahead(s) && !s->full && send_guard_has_delivery(s) &&
           !send_guard_is_misfit(s) && !send_transaction_has_remainder(s);
}

/* --- actions: return the next event, or FSM_QUIET ------------------------ */

/* In S_IDLE: choose the next delivery. */
unsigned char send_action_next_delivery(void *ctx)
{
    struct send_session *s = ctx;

    if (send_transaction_next(s) != NULL)
        return E_DELIVERY;
    if (s->stopping || s->env->hurry || s->env->linger == 0 ||
        !list_empty(&s->deliveries)) /* the peer's limit is reached */
        return E_STOP;
    return FSM_QUIET;
}

unsigned char send_action_send_ehlo(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_command(s, "EHLO %s", s->env->hostname);
    return FSM_QUIET;
}

unsigned char send_action_send_helo(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_command(s, "HELO %s", s->env->hostname);
    return FSM_QUIET;
}

unsigned char send_action_ready(void *ctx)
{
    send_session_log_connect(ctx);
    return send_action_next_delivery(ctx);
}

unsigned char send_action_refuse_misfits(void *ctx)
{
    send_transaction_refuse_misfits(ctx, send_transaction_next(ctx));
    return send_action_next_delivery(ctx);
}

unsigned char send_action_begin(void *ctx)
{
    send_transaction_begin(ctx);
    return FSM_QUIET;
}

unsigned char send_action_pump(void *ctx)
{
    return send_transaction_pump(ctx);
}

unsigned char send_action_send_rcpt(void *ctx)
{
    struct send_session *s = ctx;

    s->answered = true;
    send_transaction_rcpt(s);
    return FSM_QUIET;
}

unsigned char send_action_go_on(void *ctx)
{
    struct send_session *s = ctx;

    s->answered = true;
    s->unsettled = s->displaced = false;
    return FSM_QUIET;
}

/* The reply does not concern this message: send it again behind a RSET. */
unsigned char send_action_displace(void *ctx)
{
    struct send_session *s = ctx;

    s->displaced = true;
    return FSM_QUIET;
}

unsigned char send_action_refuse_all(void *ctx)
{
    send_transaction_note_mail(ctx);
    return FSM_QUIET;
}

unsigned char send_action_refuse_message(void *ctx)
{
    send_transaction_note_mail(ctx);
    send_transaction_finish(ctx);
    return send_action_next_delivery(ctx);
}

unsigned char send_action_note_rcpt(void *ctx)
{
    struct send_session *s = ctx;

    s->answered = true;
    send_transaction_note_rcpt(s);
    if (s->waiting > 0)
        return FSM_QUIET;
    if (!send_transaction_more_rcpts(s))
        return E_RCPTS;
    send_transaction_rcpt(s);
    return FSM_QUIET;
}

unsigned char send_action_send_data(void *ctx)
{
    send_transaction_command(ctx, "DATA");
    return FSM_QUIET;
}

unsigned char send_action_send_rset(void *ctx)
{
    send_transaction_finish(ctx);
    send_transaction_command(ctx, "RSET");
    return FSM_QUIET;
}

unsigned char send_action_refuse_data(void *ctx)
{
    send_transaction_note_rest(ctx);
    return send_action_send_rset(ctx);
}

unsigned char send_action_start_body(void *ctx)
{
    send_transaction_start_body(ctx);
    return send_transaction_send_body(ctx);
}

unsigned char send_action_send_body(void *ctx)
{
    return send_transaction_send_body(ctx);
}

unsigned char send_action_end_body(void *ctx)
{
    send_transaction_end_body(ctx);
    return FSM_QUIET;
}

unsigned char send_action_go_ahead(void *ctx)
{
    send_transaction_begin_ahead(ctx);
    return FSM_QUIET;
}

unsigned char send_action_end_body_go_ahead(void *ctx)
{
    send_transaction_end_body(ctx);
    return send_action_go_ahead(ctx);
}

unsigned char send_action_send_dot(void *ctx)
{
    send_transaction_command(ctx, ".");
    return FSM_QUIET;
}

unsigned char send_action_finish(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_note_rest(s);
    s->end.delivered += s->reply.status.code < 300;
    send_transaction_finish(s);
    return send_action_next_delivery(s);
}

unsigned char send_action_finish_take_ahead(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_note_rest(s);
    s->end.delivered += s->reply.status.code < 300;
    send_transaction_finish(s);
    send_transaction_take_ahead(s);
    return FSM_QUIET;
}

static void end_chunk(struct send_session *s)
{
    send_transaction_note_rest(s);
    s->end.delivered += s->reply.status.code < 300 && s->taken > 0;
    s->unsettled |= s->reply.status.code >= 400;
}

unsigned char send_action_end_chunk_next(void *ctx)
{
    struct send_session *s = ctx;
    bool doubt = s->displaced;

    end_chunk(s);
    send_transaction_finish(s);
    send_transaction_take_ahead(s);
    s->displaced = doubt; /* so are all commands that follow it */
    return send_transaction_pump(s);
}

unsigned char send_action_end_chunk_idle(void *ctx)
{
    end_chunk(ctx);
    send_transaction_finish(ctx);
    return send_action_next_delivery(ctx);
}

unsigned char send_action_end_chunk_rset(void *ctx)
{
    struct send_session *s = ctx;

    end_chunk(s);
    s->displaced = s->unsettled = false;
    return send_action_send_rset(s);
}

unsigned char send_action_finish_void(void *ctx)
{
    send_transaction_finish(ctx);
    return send_action_next_delivery(ctx);
}

unsigned char send_action_send_quit(void *ctx)
{
    send_transaction_command(ctx, "QUIT");
    return FSM_QUIET;
}

/* The peer or the network ended the session; log which. */
static void lose(struct send_session *s, const char *what)
{
    s->end.fault = true;
    answer_set(&s->end.why, OUTCOME_DEFERRED, "4.4.2", "%s while %s", what,
               send_session_doing(s->was));
}

/* The same with the peer's reply as the reason. */
static void lose_reply(struct send_session *s)
{
    s->end.fault = true;
    send_transaction_take_answer(s, &s->end.why);
    s->end.why.outcome = OUTCOME_DEFERRED;
}

unsigned char send_action_lose_421(void *ctx)
{
    lose_reply(ctx);
    return FSM_QUIET;
}

unsigned char send_action_lose_broken(void *ctx)
{
    struct send_session *s = ctx;

    s->garbled = true;
    lose(s, "broken reply");
    return FSM_QUIET;
}

unsigned char send_action_lose_early(void *ctx)
{
    struct send_session *s = ctx;

    s->garbled = true;
    lose(s, "a reply ahead of its command");
    return FSM_QUIET;
}

/* The reply is out of step with the commands; earlier replies may be
 * misattributed too. */
unsigned char send_action_lose_order(void *ctx)
{
    struct send_session *s = ctx;
    char what[40];

    s->garbled = true;
    snprintf(what, sizeof what, "unexpected reply %d", s->reply.status.code);
    lose(s, what);
    return FSM_QUIET;
}

/* 354 for a message of which no recipient was accepted. */
unsigned char send_action_lose_message(void *ctx)
{
    lose(ctx, "unexpected reply 354");
    return FSM_QUIET;
}

unsigned char send_action_lose_closed(void *ctx)
{
    send_session_lose_closed(ctx);
    return FSM_QUIET;
}

unsigned char send_action_lose_timeout(void *ctx)
{
    lose(ctx, "timed out");
    return FSM_QUIET;
}

/* Not the fault of the peer: the next session may begin at once, and the
 * message that cannot be read is not in it. */
unsigned char send_action_lose_body(void *ctx)
{
    struct send_session *s = ctx;

    answer_set_unreadable(&s->end.why, s->body_error);
    if (s->sending == NULL) /* by DATA: it is the one in hand */
        return FSM_QUIET;
    delivery_answer_all(s->sending, &s->end.why);
    answer_set(&s->end.why, OUTCOME_DEFERRED, "4.3.0",
               "session ended: the message behind this one cannot be read");
    return FSM_QUIET;
}

unsigned char send_action_lose_killed(void *ctx)
{
    struct send_session *s = ctx;

    answer_set(&s->end.why, OUTCOME_DEFERRED, "4.3.2",
               "interrupted by our shutdown while %s",
               send_session_doing(s->was));
    return FSM_QUIET;
}

/* The peer refuses service: its reply is the reason; send QUIT. */
unsigned char send_action_turned_away(void *ctx)
{
    lose_reply(ctx);
    return send_action_send_quit(ctx);
}

/* A reply to a message that is not written to its end: it counts, but the
 * session ends, because the rest cannot be taken back. */
unsigned char send_action_refuse_early(void *ctx)
{
    send_transaction_note_rest(ctx);
    send_transaction_finish(ctx);
    return FSM_QUIET;
}
