/* session_actions.c - the rows' verbs and conditions, but for the envelope's
 * (envelope.c): greeting, refusals, the body and its answer. */
#include "serve/session_actions.h"

#include "base/clock.h"
#include "log/log.h"
#include "mail/trace.h"
#include "serve/reply.h"
#include "serve/session.h"
#include "serve/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 5321 4.3.2: bad commands are counted; too many end the session. */
static unsigned char count_error(struct serve_session *s)
{
    return ++s->errors >= s->worker->conf->serve.max_errors ? E_TOO_MANY_ERRORS
                                                            : FSM_QUIET;
}

static unsigned char complain(void *ctx, int code, const char *enh,
                              const char *why)
{
    struct serve_session *s = ctx;
    const struct smtp_command *c = &s->worker->command;
    char what[64] = "";

    span_copy(what, sizeof what, c->word);
    serve_refuse(s, code, enh, what, why);
    return count_error(s);
}

/* --- greeting -------------------------------------------------------- */

bool bad_helo_name(const void *ctx)
{
    const struct serve_session *s = ctx;
    struct span name;

    return !smtp_helo_name(s->worker->command.args, &name);
}

unsigned char say_bad_helo(void *ctx)
{
    return complain(ctx, 501, "5.5.4", "HELO and EHLO take one host name");
}

static void list_extensions(struct serve_session *s)
{
    const struct conf *c = s->worker->conf;
    char text[512];
    struct buf b = BUF_ON(text);

    buf_addf(&b, "250-%s greets you\r\n250-PIPELINING\r\n", c->hostname);
    buf_addf(&b, "250-SIZE %lld\r\n250-8BITMIME\r\n",
             c->serve.max_message_size);
    buf_adds(&b, "250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n");
    conn_write(&s->conn, b.p, b.n);
}

unsigned char say_hello(void *ctx)
{
    struct serve_session *s = ctx;
    const struct smtp_command *c = &s->worker->command;
    struct span name;
    char text[256];

    serve_transaction_free(&s->transaction);
    s->esmtp = c->verb == SMTP_EHLO;
    if (smtp_helo_name(c->args, &name) && span_copy(text, sizeof text, name)) {
        free(s->helo);
        s->helo = strdup(text);
    }
    LOG(LOG_DEBUG, "serve.helo", LS("sid", s->sid), LS("helo", s->helo),
        LS("verb", smtp_verb_name(c->verb)));
    if (s->esmtp)
        list_extensions(s);
    else
        serve_reply(s, 250, NULL, "%s", s->worker->conf->hostname);
    return FSM_QUIET;
}

/* --- short answers --------------------------------------------------- */

unsigned char say_ok(void *ctx)
{
    serve_reply(ctx, 250, "2.0.0", "Ok");
    return FSM_QUIET;
}

unsigned char reset(void *ctx)
{
    struct serve_session *s = ctx;

    serve_transaction_free(&s->transaction);
    return say_ok(ctx);
}

unsigned char say_help(void *ctx)
{
    serve_reply(ctx, 214, "2.0.0", "HELO EHLO MAIL RCPT DATA RSET QUIT");
    return FSM_QUIET;
}

unsigned char say_bye(void *ctx)
{
    struct serve_session *s = ctx;
    struct span in = conn_input(&s->conn);

    s->bye = in.n < CONN_SCRATCH && span_find(in, '\n') + 1 == in.n;
    serve_reply(s, 221, "2.0.0", "%s closing", s->worker->conf->hostname);
    return FSM_QUIET;
}

unsigned char say_helo_first(void *ctx)
{
    return complain(ctx, 503, "5.5.1", "Say EHLO or HELO first");
}

unsigned char say_no_vrfy(void *ctx)
{
    return complain(ctx, 502, "5.5.1", "VRFY is not offered");
}

unsigned char say_off(void *ctx)
{
    return complain(ctx, 502, "5.5.1", "Command not offered");
}

unsigned char say_unknown(void *ctx)
{
    return complain(ctx, 500, "5.5.1", "Unknown command");
}

unsigned char say_garbled(void *ctx)
{
    struct serve_session *s = ctx;

    serve_refuse(s, 500, "5.5.2", "",
                 "Not a command line: too long, or NUL or CR inside");
    return count_error(s);
}

/* A lone LF is never a line end here (RFC 5321 2.3.8).  What follows it may
 * be another command to one reader and an argument to the next, so nothing
 * after it can be trusted. */
unsigned char say_bare_lf(void *ctx)
{
    serve_refuse(ctx, 500, "5.5.2", "",
                 "Lines end in CRLF, not in LF; closing");
    return FSM_QUIET;
}

/* Who begins like this speaks something else: a browser that a page made
 * talk to us, say, whose form holds commands further down. */
unsigned char say_not_smtp(void *ctx)
{
    serve_refuse(ctx, 500, "5.5.1", "", "This is SMTP; closing");
    return FSM_QUIET;
}

unsigned char say_sequence(void *ctx)
{
    return complain(ctx, 503, "5.5.1", "Bad sequence of commands");
}

unsigned char say_nested_mail(void *ctx)
{
    return complain(ctx, 503, "5.5.1", "A transaction is open; RSET ends it");
}

bool all_rcpt_refused(const void *ctx)
{
    return ((const struct serve_session *)ctx)->rcpt_refused;
}

unsigned char say_no_rcpt(void *ctx)
{
    serve_refuse(ctx, 554, "5.5.1", "DATA", "No valid recipients");
    return serve_refused_enough(ctx) ? E_TOO_MANY_ERRORS : FSM_QUIET;
}

unsigned char say_timeout(void *ctx)
{
    struct serve_session *s = ctx;

    serve_refuse(s, 421, "4.4.2", "", "Timeout, closing");
    return FSM_QUIET;
}

unsigned char say_stopping(void *ctx)
{
    struct serve_session *s = ctx;

    serve_reply(s, 421, "4.3.2", "%s is stopping, try again soon",
                s->worker->conf->hostname);
    return FSM_QUIET;
}

unsigned char say_too_many_errors(void *ctx)
{
    serve_refuse(ctx, 421, "4.7.0", "", "Too many errors, closing");
    return FSM_QUIET;
}

unsigned char hang_up(void *ctx)
{
    (void)ctx;
    return FSM_QUIET;
}

/* --- reverse DNS ----------------------------------------------------- */

enum { NOTE_NAME_WITHIN_MS = 2000 };

/* With serve.rdns = require the answer decides about recipients; relay
 * networks are exempt and never wait. */
bool rdns_blocks_rcpt(const void *ctx)
{
    const struct serve_session *s = ctx;

    return s->rdns_query != NULL && !s->trusted &&
           s->worker->conf->serve.rdns == CONF_RDNS_REQUIRE;
}

/* Otherwise its only use is the Received field, worth a short wait. */
bool rdns_blocks_data(const void *ctx)
{
    const struct serve_session *s = ctx;

    return s->rdns_query != NULL && !s->trusted;
}

/* The command stays unread; it is carried out when the name is known. */
unsigned char hold(void *ctx)
{
    struct serve_session *s = ctx;

    s->held = true;
    loop_timer_set(s->worker->loop, &s->hold, NOTE_NAME_WITHIN_MS);
    return FSM_QUIET;
}

/* --- the body -------------------------------------------------------- */

static void write_trace(struct serve_session *s, struct buf *out)
{
    const struct serve_transaction *d = s->transaction;
    char peer[ADDR_PORT_TEXT] = "", ip[ADDR_TEXT];

    addr_text(ip, &s->peer);
    snprintf(peer, sizeof peer, "%s%s", addr_is_v6(&s->peer) ? "IPv6:" : "",
             ip);
    struct trace t = {
        .helo = s->helo,
        .client = peer,
        .client_name = s->client_name,
        .name_confirmed = s->rdns == FCRDNS_OK,
        .by = s->worker->conf->hostname,
        .with = d->flags & SPOOL_UTF8 ? "UTF8SMTP"
                : s->esmtp            ? "ESMTP"
                                      : "SMTP",
        .id = d->id,
        .rcpt = d->nrcpt == 1 ? d->only_rcpt : NULL,
        .when = clock_wall_us(),
    };
    trace_received(out, &t);
}

static int add_origin(struct serve_session *s)
{
    char ip[ADDR_TEXT];

    addr_text(ip, &s->peer);
    return serve_transaction_add_field(s->transaction, SPOOL_F_SID,
                                       span_of(s->sid)) == 0 &&
                   serve_transaction_add_field(s->transaction, SPOOL_F_CLIENT,
                                               span_of(ip)) == 0 &&
                   serve_transaction_add_field(s->transaction, SPOOL_F_HELO,
                                               span_of(s->helo)) == 0
               ? 0
               : -1;
}

static bool give_id(struct serve_transaction *d)
{
    struct err e;

    if (spool_writer_new_id(d->writer, &d->id, &e) == 0)
        return true;
    log_err(LOG_ERROR, "serve.spool", &e);
    if (err_is_full(&e))
        d->fault = BODY_NO_ROOM;
    return false;
}

unsigned char open_body(void *ctx)
{
    struct serve_session *s = ctx;
    struct serve_transaction *d = s->transaction;
    char text[TRACE_MAX];
    struct buf trace = BUF_ON(text);

    if (!give_id(d) || add_origin(s) != 0) {
        return E_UNSTORED;
    }
    write_trace(s, &trace);
    serve_transaction_begin(d, buf_span(&trace));
    d->dot.normalize = s->trusted && s->worker->conf->serve.bare_newline ==
                                         CONF_NEWLINE_NORMALIZE;
    return E_ACCEPTED;
}

unsigned char say_go_ahead(void *ctx)
{
    serve_reply(ctx, 354, NULL, "End data with <CR><LF>.<CR><LF>");
    return FSM_QUIET;
}

/* A message cut short by a line end that is not one shows only at the dot. */
bool body_has_fault(const void *ctx)
{
    const struct serve_transaction *d =
        ((const struct serve_session *)ctx)->transaction;

    return d->fault != BODY_FINE || d->dot.nul_dot ||
           ((d->dot.bare_cr || d->dot.bare_lf) && !d->dot.normalize);
}

unsigned char refuse_body(void *ctx)
{
    struct serve_session *s = ctx;

    if (s->transaction->fault == BODY_FINE && s->transaction->dot.nul_dot)
        s->transaction->fault = BODY_NUL_DOT;
    switch (s->transaction->fault) {
    case BODY_TOO_BIG:
        serve_refuse(s, 552, "5.3.4", "body", "Message too big");
        break;
    case BODY_NO_ROOM:
        serve_refuse(s, 452, "4.3.1", "body", "No room for it now, try later");
        break;
    case BODY_LOOPS:
        serve_refuse(s, 554, "5.4.6", "body", "Too many hops: mail loop");
        break;
    case BODY_NUL_DOT:
        serve_refuse(s, 550, "5.6.0", "body",
                     "A line begins with NUL and a dot");
        break;
    case BODY_FINE:
    case BODY_BARE_NEWLINE:
        serve_refuse(s, 550, "5.5.2", "body",
                     "Bare CR or LF in the message; lines end in CRLF");
        break;
    }
    serve_transaction_free(&s->transaction);
    return serve_refused_enough(s) ? E_TOO_MANY_ERRORS : FSM_QUIET;
}

unsigned char submit(void *ctx)
{
    struct serve_session *s = ctx;

    s->transaction->session = s;
    serve_commit_submit(s->worker->commit, s->transaction);
    return FSM_QUIET;
}

static void accepted(struct serve_session *s, const char *how)
{
    char id[MSG_ID_TEXT];

    s->messages++;
    s->refused = 0;
    msg_id_text(id, s->transaction->id);
    serve_reply(s, 250, "2.0.0", "Ok: %s as %s", how, id);
}

unsigned char say_queued(void *ctx)
{
    accepted(ctx, "queued");
    return FSM_QUIET;
}

unsigned char say_delivered(void *ctx)
{
    accepted(ctx, "delivered");
    return FSM_QUIET;
}

unsigned char say_try_later(void *ctx)
{
    struct serve_session *s = ctx;

    if (s->transaction != NULL && s->transaction->fault == BODY_NO_ROOM)
        serve_refuse(s, 452, "4.3.1", "body", "No room for it now, try later");
    else
        serve_refuse(s, 451, "4.3.0", "body",
                     "Could not store it now, try later");
    if (s->transaction != NULL && !s->transaction->in_commit)
        serve_transaction_free(&s->transaction);
    return FSM_QUIET;
}
