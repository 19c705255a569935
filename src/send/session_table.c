/* session_table.c - the client's behaviour on each reply: the whole session as
 * one table (RFC 5321 3 and 4, RFC 2920 for pipelining).
 *
 * Replies come in the order of commands, so the state is the reply that is due
 * next, also when more commands are in flight. STARTTLS and AUTH will be states
 * between S_EHLO and S_IDLE.
 *
 * With BDAT (RFC 3030) whole messages are in flight one behind the other, and
 * the next command depends on no reply: `pump` writes it whenever there is
 * room, in each state of a transaction. */
#include "send/session_private.h"
#include "send/transaction.h"

/* --- guards: only look -------------------------------------------------- */

static bool is_piped(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->piped;
}

static bool some_taken(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->taken > 0;
}

static bool none_accepted(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->accepted == 0;
}

/* A reply to a command that is not written yet. */
static bool is_early(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->more_input;
}

static bool has_delivery(const void *ctx)
{
    return send_transaction_next(ctx) != NULL;
}

static bool may_chunk(const void *ctx)
{
    return send_transaction_chunks(ctx) && has_delivery(ctx);
}

static bool is_misfit(const void *ctx)
{
    const struct delivery *j = send_transaction_next(ctx);

    return j != NULL && send_transaction_has_misfits(ctx, j);
}

static bool has_ahead(const void *ctx)
{
    const struct send_session *s = ctx;

    return !list_empty(&s->ahead);
}

static bool is_chunked(const void *ctx)
{
    return send_transaction_chunks(ctx);
}

/* The last octet of the replied-to message has not been written yet. */
static bool is_sending(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->sending != NULL && s->sending == s->cur;
}

/* The peer refused a chunk and does not treat what followed as a new message
 * (RFC 3030 leaves open whether a failure ends the transaction). */
static bool is_displaced(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->unsettled && s->reply.status.code == 503;
}

static bool was_displaced(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->displaced;
}

/* The commands of the next message may share a write with the end of this
 * one (RFC 2920), unless this one needs another transaction first. */
static bool may_go_ahead(const void *ctx)
{
    const struct send_session *s = ctx;

    return (s->ext.bits & SMTP_EXT_PIPELINING) != 0 && !has_ahead(s) &&
           !s->full && has_delivery(s) && !is_misfit(s) &&
           !send_transaction_has_remainder(s);
}

/* --- actions: only do, and return what came of it ----------------------- */

/* In S_IDLE: choose the next delivery. */
static unsigned char next_delivery(void *ctx)
{
    struct send_session *s = ctx;

    if (send_transaction_next(s) != NULL)
        return E_DELIVERY;
    if (s->stopping || s->env->hurry || s->env->linger == 0 ||
        !list_empty(&s->deliveries)) /* the peer's limit is reached */
        return E_STOP;
    return FSM_QUIET;
}

static unsigned char send_ehlo(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_command(s, "EHLO %s", s->env->hostname);
    return FSM_QUIET;
}

static unsigned char send_helo(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_command(s, "HELO %s", s->env->hostname);
    return FSM_QUIET;
}

static unsigned char ready(void *ctx)
{
    send_session_log_connect(ctx);
    return next_delivery(ctx);
}

static unsigned char refuse_misfits(void *ctx)
{
    send_transaction_refuse_misfits(ctx, send_transaction_next(ctx));
    return next_delivery(ctx);
}

static unsigned char begin(void *ctx)
{
    send_transaction_begin(ctx);
    return FSM_QUIET;
}

static unsigned char pump(void *ctx)
{
    return send_transaction_pump(ctx);
}

static unsigned char send_rcpt(void *ctx)
{
    struct send_session *s = ctx;

    s->answered = true;
    send_transaction_rcpt(s);
    return FSM_QUIET;
}

static unsigned char go_on(void *ctx)
{
    struct send_session *s = ctx;

    s->answered = true;
    s->unsettled = s->displaced = false;
    return FSM_QUIET;
}

/* The reply does not concern this message: send it again behind a RSET. */
static unsigned char displace(void *ctx)
{
    struct send_session *s = ctx;

    s->displaced = true;
    return FSM_QUIET;
}

static unsigned char refuse_all(void *ctx)
{
    send_transaction_note_mail(ctx);
    return FSM_QUIET;
}

static unsigned char refuse_message(void *ctx)
{
    send_transaction_note_mail(ctx);
    send_transaction_finish(ctx);
    return next_delivery(ctx);
}

static unsigned char note_rcpt(void *ctx)
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

static unsigned char send_data(void *ctx)
{
    send_transaction_command(ctx, "DATA");
    return FSM_QUIET;
}

static unsigned char send_rset(void *ctx)
{
    send_transaction_finish(ctx);
    send_transaction_command(ctx, "RSET");
    return FSM_QUIET;
}

static unsigned char refuse_data(void *ctx)
{
    send_transaction_note_rest(ctx);
    return send_rset(ctx);
}

static unsigned char start_body(void *ctx)
{
    send_transaction_start_body(ctx);
    return send_transaction_send_body(ctx);
}

static unsigned char send_body(void *ctx)
{
    return send_transaction_send_body(ctx);
}

static unsigned char end_body(void *ctx)
{
    send_transaction_end_body(ctx);
    return FSM_QUIET;
}

static unsigned char go_ahead(void *ctx)
{
    send_transaction_begin_ahead(ctx);
    return FSM_QUIET;
}

static unsigned char end_body_go_ahead(void *ctx)
{
    send_transaction_end_body(ctx);
    return go_ahead(ctx);
}

static unsigned char send_dot(void *ctx)
{
    send_transaction_command(ctx, ".");
    return FSM_QUIET;
}

static unsigned char finish(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_note_rest(s);
    s->end.delivered += s->reply.status.code < 300;
    send_transaction_finish(s);
    return next_delivery(s);
}

static unsigned char finish_take_ahead(void *ctx)
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

static unsigned char end_chunk_next(void *ctx)
{
    struct send_session *s = ctx;
    bool doubt = s->displaced;

    end_chunk(s);
    send_transaction_finish(s);
    send_transaction_take_ahead(s);
    s->displaced = doubt; /* so are all commands that follow it */
    return send_transaction_pump(s);
}

static unsigned char end_chunk_idle(void *ctx)
{
    end_chunk(ctx);
    send_transaction_finish(ctx);
    return next_delivery(ctx);
}

static unsigned char end_chunk_rset(void *ctx)
{
    struct send_session *s = ctx;

    end_chunk(s);
    s->displaced = s->unsettled = false;
    return send_rset(s);
}

static unsigned char finish_void(void *ctx)
{
    send_transaction_finish(ctx);
    return next_delivery(ctx);
}

static unsigned char send_quit(void *ctx)
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

static unsigned char lose_421(void *ctx)
{
    lose_reply(ctx);
    return FSM_QUIET;
}

static unsigned char lose_broken(void *ctx)
{
    struct send_session *s = ctx;

    s->garbled = true;
    lose(s, "broken reply");
    return FSM_QUIET;
}

static unsigned char lose_early(void *ctx)
{
    struct send_session *s = ctx;

    s->garbled = true;
    lose(s, "a reply ahead of its command");
    return FSM_QUIET;
}

/* The reply is out of step with the commands; earlier replies may be
 * misattributed too. */
static unsigned char lose_order(void *ctx)
{
    struct send_session *s = ctx;
    char what[40];

    s->garbled = true;
    snprintf(what, sizeof what, "unexpected reply %d", s->reply.status.code);
    lose(s, what);
    return FSM_QUIET;
}

/* 354 for a message of which no recipient was accepted. */
static unsigned char lose_message(void *ctx)
{
    lose(ctx, "unexpected reply 354");
    return FSM_QUIET;
}

static unsigned char lose_closed(void *ctx)
{
    send_session_lose_closed(ctx);
    return FSM_QUIET;
}

static unsigned char lose_timeout(void *ctx)
{
    lose(ctx, "timed out");
    return FSM_QUIET;
}

/* Not the fault of the peer: the next session may begin at once, and the
 * message that cannot be read is not in it. */
static unsigned char lose_body(void *ctx)
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

static unsigned char lose_killed(void *ctx)
{
    struct send_session *s = ctx;

    answer_set(&s->end.why, OUTCOME_DEFERRED, "4.3.2",
               "interrupted by our shutdown while %s",
               send_session_doing(s->was));
    return FSM_QUIET;
}

/* The peer refuses service: its reply is the reason; send QUIT. */
static unsigned char turned_away(void *ctx)
{
    lose_reply(ctx);
    return send_quit(ctx);
}

/* A reply to a message that is not written to its end: it counts, but the
 * session ends, because the rest cannot be taken back. */
static unsigned char refuse_early(void *ctx)
{
    send_transaction_note_rest(ctx);
    send_transaction_finish(ctx);
    return FSM_QUIET;
}

/* --- the table ---------------------------------------------------------- */

/* clang-format off */
static const struct fsm_row rows[] = {
    /*      in       on            only if        do                 then  */
    FSM_ROW(S_DIAL,  E_CONNECTED,  NULL,          NULL,              S_GREET),
    FSM_ROW(S_DIAL,  E_STOP,       NULL,          NULL,              S_END),

    FSM_ROW(S_GREET, E_2XX,        NULL,          send_ehlo,          S_EHLO),
    FSM_ROW(S_GREET, E_4XX,        NULL,          turned_away,       S_QUIT),
    FSM_ROW(S_GREET, E_5XX,        NULL,          turned_away,       S_QUIT),
    FSM_ROW(S_GREET, E_STOP,       NULL,          NULL,              S_END),

    FSM_ROW(S_EHLO,  E_2XX,        NULL,          ready,             S_IDLE),
    FSM_ROW(S_EHLO,  E_4XX,        NULL,          turned_away,       S_QUIT),
    FSM_ROW(S_EHLO,  E_5XX,        NULL,          send_helo,          S_HELO),
    FSM_ROW(S_EHLO,  E_STOP,       NULL,          NULL,              S_END),

    FSM_ROW(S_HELO,  E_2XX,        NULL,          ready,             S_IDLE),
    FSM_ROW(S_HELO,  E_4XX,        NULL,          turned_away,       S_QUIT),
    FSM_ROW(S_HELO,  E_5XX,        NULL,          turned_away,       S_QUIT),
    FSM_ROW(S_HELO,  E_STOP,       NULL,          NULL,              S_END),

    FSM_ROW(S_IDLE,  E_DELIVERY,   is_misfit,     refuse_misfits,    S_IDLE),
    FSM_ROW(S_IDLE,  E_DELIVERY,   may_chunk,     pump,              S_MAIL),
    FSM_ROW(S_IDLE,  E_DELIVERY,   has_delivery,  begin,             S_MAIL),
    FSM_ROW(S_IDLE,  E_DELIVERY,   NULL,          next_delivery,     S_IDLE),
    FSM_ROW(S_IDLE,  E_STOP,       NULL,          send_quit,          S_QUIT),
    FSM_ROW(S_IDLE,  E_TIMEOUT,    NULL,          send_quit,          S_QUIT),
    /* a peer may close an idle session */
    FSM_ROW(S_IDLE,  E_421,        NULL,          NULL,              S_END),
    FSM_ROW(S_IDLE,  E_CLOSED,     NULL,          NULL,              S_END),

    FSM_ROW(S_MAIL,  E_2XX,        is_piped,      go_on,             S_RCPT),
    FSM_ROW(S_MAIL,  E_2XX,        NULL,          send_rcpt,          S_RCPT),
    FSM_ROW(S_MAIL,  E_4XX,        is_piped,      refuse_all,        S_RCPT),
    FSM_ROW(S_MAIL,  E_4XX,        NULL,          refuse_message,    S_IDLE),
    FSM_ROW(S_MAIL,  E_5XX,        is_displaced,  displace,          S_RCPT),
    FSM_ROW(S_MAIL,  E_5XX,        is_piped,      refuse_all,        S_RCPT),
    FSM_ROW(S_MAIL,  E_5XX,        NULL,          refuse_message,    S_IDLE),

    FSM_ROW(S_RCPT,  E_2XX,        NULL,          note_rcpt,         S_RCPT),
    FSM_ROW(S_RCPT,  E_4XX,        NULL,          note_rcpt,         S_RCPT),
    FSM_ROW(S_RCPT,  E_5XX,        NULL,          note_rcpt,         S_RCPT),
    FSM_ROW(S_RCPT,  E_RCPTS,      is_chunked,    NULL,              S_CHUNK),
    FSM_ROW(S_RCPT,  E_RCPTS,      is_piped,      NULL,              S_DATA),
    FSM_ROW(S_RCPT,  E_RCPTS,      some_taken,    send_data,          S_DATA),
    FSM_ROW(S_RCPT,  E_RCPTS,      NULL,          send_rset,          S_RSET),

    FSM_ROW(S_CHUNK, E_2XX,        is_sending,    lose_order,        S_END),
    FSM_ROW(S_CHUNK, E_4XX,        is_sending,    refuse_early,      S_END),
    FSM_ROW(S_CHUNK, E_5XX,        is_sending,    refuse_early,      S_END),
    FSM_ROW(S_CHUNK, E_2XX,        has_ahead,     end_chunk_next,    S_MAIL),
    FSM_ROW(S_CHUNK, E_4XX,        has_ahead,     end_chunk_next,    S_MAIL),
    FSM_ROW(S_CHUNK, E_5XX,        has_ahead,     end_chunk_next,    S_MAIL),
    FSM_ROW(S_CHUNK, E_2XX,        was_displaced, end_chunk_rset,    S_RSET),
    FSM_ROW(S_CHUNK, E_2XX,        NULL,          end_chunk_idle,    S_IDLE),
    FSM_ROW(S_CHUNK, E_4XX,        NULL,          end_chunk_rset,    S_RSET),
    FSM_ROW(S_CHUNK, E_5XX,        NULL,          end_chunk_rset,    S_RSET),

    /* one message behind the other, while replies come */
    FSM_ROW(S_MAIL,  E_ROOM,       is_chunked,    pump,              S_MAIL),
    FSM_ROW(S_RCPT,  E_ROOM,       is_chunked,    pump,              S_RCPT),
    FSM_ROW(S_CHUNK, E_ROOM,       is_chunked,    pump,              S_CHUNK),
    FSM_ROW(S_MAIL,  E_DELIVERY,   is_chunked,    pump,              S_MAIL),
    FSM_ROW(S_RCPT,  E_DELIVERY,   is_chunked,    pump,              S_RCPT),
    FSM_ROW(S_CHUNK, E_DELIVERY,   is_chunked,    pump,              S_CHUNK),
    FSM_ROW(S_MAIL,  E_UNREADABLE, NULL,          lose_body,         S_END),
    FSM_ROW(S_RCPT,  E_UNREADABLE, NULL,          lose_body,         S_END),
    FSM_ROW(S_CHUNK, E_UNREADABLE, NULL,          lose_body,         S_END),

    FSM_ROW(S_DATA,  E_3XX,        is_early,      lose_early,        S_END),
    FSM_ROW(S_DATA,  E_3XX,        some_taken,    start_body,        S_BODY),
    FSM_ROW(S_DATA,  E_3XX,        none_accepted, send_dot,           S_VOID),
    FSM_ROW(S_DATA,  E_3XX,        NULL,          lose_message,      S_END),
    FSM_ROW(S_DATA,  E_4XX,        NULL,          refuse_data,       S_RSET),
    FSM_ROW(S_DATA,  E_5XX,        NULL,          refuse_data,       S_RSET),

    FSM_ROW(S_BODY,  E_ROOM,       NULL,          send_body,         S_BODY),
    FSM_ROW(S_BODY,  E_SENT,       may_go_ahead,  end_body_go_ahead, S_DOT),
    FSM_ROW(S_BODY,  E_SENT,       NULL,          end_body,          S_DOT),
    FSM_ROW(S_BODY,  E_UNREADABLE, NULL,          lose_body,         S_END),
    FSM_ROW(S_BODY,  E_4XX,        NULL,          refuse_early,      S_END),
    FSM_ROW(S_BODY,  E_5XX,        NULL,          refuse_early,      S_END),

    FSM_ROW(S_DOT,   E_DELIVERY,   may_go_ahead,  go_ahead,          S_DOT),
    FSM_ROW(S_DOT,   E_2XX,        has_ahead,     finish_take_ahead, S_MAIL),
    FSM_ROW(S_DOT,   E_4XX,        has_ahead,     finish_take_ahead, S_MAIL),
    FSM_ROW(S_DOT,   E_5XX,        has_ahead,     finish_take_ahead, S_MAIL),
    FSM_ROW(S_DOT,   E_2XX,        NULL,          finish,            S_IDLE),
    FSM_ROW(S_DOT,   E_4XX,        NULL,          finish,            S_IDLE),
    FSM_ROW(S_DOT,   E_5XX,        NULL,          finish,            S_IDLE),

    FSM_ROW(S_VOID,  E_2XX,        NULL,          finish_void,       S_IDLE),
    FSM_ROW(S_VOID,  E_4XX,        NULL,          finish_void,       S_IDLE),
    FSM_ROW(S_VOID,  E_5XX,        NULL,          finish_void,       S_IDLE),

    FSM_ROW(S_RSET,  E_2XX,        NULL,          next_delivery,     S_IDLE),
    FSM_ROW(S_RSET,  E_4XX,        NULL,          turned_away,       S_QUIT),
    FSM_ROW(S_RSET,  E_5XX,        NULL,          turned_away,       S_QUIT),

    FSM_ROW(S_QUIT,  E_2XX,        NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_3XX,        NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_4XX,        NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_5XX,        NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_421,        NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_BROKEN,     NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_CLOSED,     NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_TIMEOUT,    NULL,          NULL,              S_END),
    FSM_ROW(S_QUIT,  E_KILL,       NULL,          NULL,              S_END),

    FSM_ROW(FSM_ANY, E_2XX,        NULL,          lose_order,        S_END),
    FSM_ROW(FSM_ANY, E_3XX,        NULL,          lose_order,        S_END),
    FSM_ROW(FSM_ANY, E_4XX,        NULL,          lose_order,        S_END),
    FSM_ROW(FSM_ANY, E_5XX,        NULL,          lose_order,        S_END),
    FSM_ROW(FSM_ANY, E_421,        NULL,          lose_421,          S_END),
    FSM_ROW(FSM_ANY, E_BROKEN,     NULL,          lose_broken,       S_END),
    FSM_ROW(FSM_ANY, E_CLOSED,     NULL,          lose_closed,       S_END),
    FSM_ROW(FSM_ANY, E_TIMEOUT,    NULL,          lose_timeout,      S_END),
    FSM_ROW(FSM_ANY, E_KILL,       NULL,          lose_killed,         S_END),
    FSM_ROW(FSM_ANY, E_CONNECTED,  NULL,          NULL,              FSM_ANY),
    FSM_ROW(FSM_ANY, E_ROOM,       NULL,          NULL,              FSM_ANY),
    FSM_ROW(FSM_ANY, E_DELIVERY,   NULL,          NULL,              FSM_ANY),
    FSM_ROW(FSM_ANY, E_STOP,       NULL,          NULL,              FSM_ANY),
};

static const char *const states[S_COUNT] = {
    "DIAL", "GREET", "EHLO", "HELO", "IDLE", "MAIL", "RCPT", "DATA", "BODY",
    "DOT",  "CHUNK", "VOID",  "RSET", "QUIT", "END",
};

static const char *const events[E_COUNT] = {
    "connected", "2xx",  "3xx",  "4xx",  "5xx",  "421",   "broken", "closed",
    "timeout",   "room", "delivery", "stop", "kill", "rcpts", "sent",
    "unreadable",
};
/* clang-format on */

const struct fsm send_session_fsm = {
    .name = "client",
    .state_names = states,
    .event_names = events,
    .nstates = S_COUNT,
    .nevents = E_COUNT,
    .noutside = E_RCPTS,
    .start = S_DIAL,
    .end = S_END,
    .rows = rows,
    .nrows = sizeof rows / sizeof rows[0],
};
