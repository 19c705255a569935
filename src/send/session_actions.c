/* session_actions.c - the guards and actions of the client's session. */
#include "send/session_actions.h"

#include "log/log.h"
#include "send/session_auth.h"
#include "send/session_fault.h"
#include "send/session_tls.h"
#include "send/transaction.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { OWN_NAME_MAX = 256 };

/* --- guards: change nothing ---------------------------------------------- */

/* Its greeting has our name.  Another program of this host may have it too, if
 * a setting leads there. */
bool send_guard_is_ourselves(const void *ctx)
{
    const struct send_session *s = ctx;
    size_t n = strcspn(s->reply.text, " \n");

    return span_is_nocase((struct span){ s->reply.text, n },
                          s->env->hostname) &&
           !(s->end.learned.configured && addr_is_loopback(&s->peer));
}

/* RFC 2033: LHLO alone greets, and each recipient accepted has a reply of its
 * own to the end of the text. */
bool send_guard_is_lmtp(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->end.learned.lmtp;
}

bool send_guard_more_finals(const void *ctx)
{
    return send_guard_is_lmtp(ctx) && send_transaction_finals(ctx) > 1;
}

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
    return send_guard_is_chunked(ctx) && send_guard_has_delivery(ctx);
}

bool send_guard_is_misfit(const void *ctx)
{
    struct delivery *j = send_transaction_next(ctx);

    return j != NULL && send_transaction_has_misfits(ctx, j);
}

bool send_guard_has_ahead(const void *ctx)
{
    const struct send_session *s = ctx;

    return !list_empty(&s->ahead);
}

bool send_guard_is_chunked(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->chunks;
}

/* The last octet of the replied-to message has not been written yet. */
bool send_guard_is_sending(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->sending != NULL && s->sending == s->cur;
}

/* A text is in the peer's hands, and all of that text. */
bool send_guard_is_written(const void *ctx)
{
    return send_guard_is_chunked(ctx) && !send_guard_is_sending(ctx);
}

bool send_guard_knows_no_bdat(const void *ctx)
{
    return send_session_judge(ctx, NULL)->whose == WHOSE_CHUNKING;
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

/* With BDAT, 2xx is the answer to all commands: one that comes before any is
 * written would move each reply to the next command, and a refusal would be
 * taken for a delivery. */
static bool is_ahead(struct send_session *s)
{
    struct span in = conn_input(&s->conn);

    return s->chunks && in.n > 0 && in.p[0] == '2';
}

/* In S_IDLE: choose the next delivery. */
unsigned char send_action_next_delivery(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_recall(s);
    if (is_ahead(s))
        return E_BROKEN;
    if (send_transaction_next(s) != NULL)
        return E_DELIVERY;
    if (s->stopping || s->env->hurry || s->env->linger == 0 ||
        !list_empty(&s->deliveries)) /* the peer's limit is reached */
        return E_STOP;
    return FSM_QUIET;
}

/* RFC 5321 4.1.4: a name that is not qualified, such as the id of a container,
 * is not sent; the address takes its place.  LMTP peers are our own. */
static void name_us(char out[OWN_NAME_MAX], const struct send_session *s)
{
    char literal[ADDR_PORT_TEXT];
    struct addr own;
    socklen_t len = sizeof own.u;

    snprintf(out, OWN_NAME_MAX, "%s", s->env->hostname);
    if (strchr(out, '.') != NULL || send_guard_is_lmtp(s) ||
        addr_is_unix(&s->peer) ||
        getsockname(s->conn.io.fd, &own.u.sa, &len) != 0)
        return;
    addr_from_sockaddr(&own, &own.u.sa);
    addr_literal(literal, &own);
    snprintf(out, OWN_NAME_MAX, "%s", literal);
}

unsigned char send_action_send_ehlo(void *ctx)
{
    struct send_session *s = ctx;
    char name[OWN_NAME_MAX];

    /* Behind STARTTLS the last reply is not the greeting. */
    s->is_exim = s->is_exim || strstr(s->reply.text, " ESMTP Exim ") != NULL;
    name_us(name, s);
    send_transaction_command(s, "%s %s",
                             send_guard_is_lmtp(s) ? "LHLO" : "EHLO", name);
    return FSM_QUIET;
}

unsigned char send_action_send_helo(void *ctx)
{
    struct send_session *s = ctx;
    char name[OWN_NAME_MAX];

    name_us(name, s);
    send_transaction_command(s, "HELO %s", name);
    return FSM_QUIET;
}

static void log_connect(const struct send_session *s)
{
    char address[ADDR_PORT_TEXT], tls[SEND_TLS_TEXT];
    bool secured = conn_is_tls(&s->conn);

    addr_port_text(address, &s->peer);
    send_tls_text(tls, s);
    bool verified = secured && conn_tls_names(&s->conn, s->host);
    LOG(LOG_INFO, "send.connect", LS("sid", s->sid), LS("mx", s->host),
        LS("address", address), LS("tls", tls),
        LS("verified", !secured   ? NULL
                       : verified ? "yes"
                                  : "no"),
        LS("auth", send_auth_text(s)));
}

unsigned char send_action_ready(void *ctx)
{
    struct send_session *s = ctx;
    const unsigned both = SMTP_EXT_CHUNKING | SMTP_EXT_PIPELINING;

    s->chunks = (s->ext.bits & both) == both && !s->env->no_chunking &&
                !s->end.learned.lmtp &&
                s->end.learned.chunking != CHUNKING_BROKEN;
    log_connect(s);
    return send_action_next_delivery(s);
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
    send_transaction_note_mail(s);
    send_transaction_rcpt(s);
    return FSM_QUIET;
}

unsigned char send_action_go_on(void *ctx)
{
    struct send_session *s = ctx;

    s->answered = true;
    send_transaction_note_mail(s);
    s->displaced = false;
    return FSM_QUIET;
}

/* The reply does not concern this message: send it again behind a RSET. */
unsigned char send_action_displace(void *ctx)
{
    struct send_session *s = ctx;

    s->displaced = true;
    s->mails++;
    return FSM_QUIET;
}

unsigned char send_action_refuse_all(void *ctx)
{
    send_transaction_refuse_mail(ctx);
    return FSM_QUIET;
}

unsigned char send_action_refuse_message(void *ctx)
{
    send_transaction_refuse_mail(ctx);
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
    send_transaction_finish(s);
    return send_action_next_delivery(s);
}

unsigned char send_action_note_final(void *ctx)
{
    send_transaction_note_final(ctx);
    return FSM_QUIET;
}

unsigned char send_action_finish_take_ahead(void *ctx)
{
    struct send_session *s = ctx;

    send_transaction_note_rest(s);
    send_transaction_finish(s);
    send_transaction_take_ahead(s);
    return FSM_QUIET;
}

static void end_chunk(struct send_session *s)
{
    send_transaction_note_rest(s);
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

unsigned char send_action_lose(void *ctx)
{
    send_session_lose(ctx);
    return FSM_QUIET;
}

/* The next session may begin at once, and the message that cannot be read is
 * not in it. */
unsigned char send_action_lose_body(void *ctx)
{
    const struct fault f = { .when = FAULT_QUEUE, .what = FAULT_UNREADABLE };
    const struct fault_rule *rule = fault_judge(&f);
    struct send_session *s = ctx;
    struct answer why;
    char id[MSG_ID_TEXT];

    answer_set_unreadable(&why, s->body_error);
    send_session_follow(s, rule, &why);
    send_session_charge(s, s->cur, rule, &why);
    msg_id_text(id, s->cur->id);
    if (!why.damaged) /* the main thread reports that */
        LOG(LOG_ERROR, "queue.unreadable", LS("queue", "remote"), LS("id", id),
            LS("sid", s->sid), LS("error", why.text));
    return FSM_QUIET;
}

/* The peer refuses service: its reply is the reason; send QUIT. */
unsigned char send_action_turn_away(void *ctx)
{
    send_session_lose(ctx);
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
