/* session_actions.c - the guards and actions of the server's session. */
#include "serve/session_actions.h"

#include "log/log.h"
#include "mail/trace.h"
#include "serve/reply.h"
#include "serve/session_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- guards: change nothing ------------------------------------------- */

bool serve_guard_bad_helo_name(const void *ctx)
{
    const struct serve_session *s = ctx;
    struct span name;

    return !smtp_helo_name(s->env->command.args, &name);
}

bool serve_guard_has_argument(const void *ctx)
{
    return ((const struct serve_session *)ctx)->env->command.args.n > 0;
}

bool serve_guard_tls_first(const void *ctx)
{
    return ((const struct serve_session *)ctx)->tls_first;
}

bool serve_guard_is_tls(const void *ctx)
{
    return conn_is_tls(&((const struct serve_session *)ctx)->conn);
}

bool serve_guard_no_tls(const void *ctx)
{
    return ((const struct serve_session *)ctx)->env->tls == NULL;
}

bool serve_guard_is_greeted(const void *ctx)
{
    return ((const struct serve_session *)ctx)->greeted;
}

bool serve_guard_all_rcpt_refused(const void *ctx)
{
    return ((const struct serve_session *)ctx)->rcpt_refused;
}

bool serve_guard_must_close(const void *ctx)
{
    return ((const struct serve_session *)ctx)->verdict.code == 421;
}

bool serve_guard_is_slow(const void *ctx)
{
    return serve_session_is_slow(ctx);
}

/* --- replies ---------------------------------------------------------- */

static const char *hostname_of(const struct serve_session *s)
{
    return s->env->conf->hostname;
}

/* Copy the subject of a refusal: the path of MAIL and RCPT, else the verb. */
static void name_subject(const struct serve_session *s, char *out, size_t n)
{
    const struct smtp_command *c = &s->env->command;
    struct smtp_param params[SMTP_PARAMS_MAX];
    size_t nparams = SMTP_PARAMS_MAX;
    struct span subject = c->word;

    if (c->verb == SMTP_MAIL)
        (void)smtp_path_args(c->args, "FROM:", &subject, params, &nparams);
    else if (c->verb == SMTP_RCPT)
        (void)smtp_path_args(c->args, "TO:", &subject, params, &nparams);
    (void)span_copy(out, n, subject);
}

/* Refuse the current command. */
static void refuse(struct serve_session *s, enum serve_reply r)
{
    struct verdict v = serve_reject(r);
    char subject[SMTP_ADDRESS_MAX] = "";

    name_subject(s, subject, sizeof subject);
    serve_refuse(s, &v, subject);
}

/* RFC 5321 4.3.2: count bad commands; too many of them end the session. */
static unsigned char refuse_error(struct serve_session *s, enum serve_reply r)
{
    refuse(s, r);
    return ++s->errors >= s->env->conf->serve.max_errors ? E_ENOUGH : FSM_QUIET;
}

/* Refuse without a command as its subject. */
static unsigned char refuse_plainly(struct serve_session *s, enum serve_reply r)
{
    struct verdict v = serve_reject(r);

    serve_refuse(s, &v, "");
    return FSM_QUIET;
}

unsigned char serve_action_reply_banner(void *ctx)
{
    ((struct serve_session *)ctx)->greeted = true;
    serve_reply(ctx, REPLY_BANNER, hostname_of(ctx));
    return FSM_QUIET;
}

unsigned char serve_action_reply_hello(void *ctx)
{
    struct serve_session *s = ctx;
    const struct smtp_command *c = &s->env->command;
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
        serve_reply_extensions(s);
    else
        serve_reply(s, REPLY_HELO, hostname_of(s));
    return FSM_QUIET;
}

unsigned char serve_action_reply_ok(void *ctx)
{
    serve_reply(ctx, REPLY_OK, NULL);
    return FSM_QUIET;
}

/* A program of this host has something for the log: `mta sendmail`, an option
 * that it does not know. */
unsigned char serve_action_reply_noop(void *ctx)
{
    const struct serve_session *s = ctx;
    struct span text = s->env->command.args;

    if (addr_is_unix(&s->peer) && text.n > 0)
        LOG(LOG_INFO, "serve.note", LS("sid", s->sid),
            LB("text", text.p, text.n));
    return serve_action_reply_ok(ctx);
}

unsigned char serve_action_reset(void *ctx)
{
    serve_transaction_free(&((struct serve_session *)ctx)->transaction);
    return serve_action_reply_ok(ctx);
}

unsigned char serve_action_reply_help(void *ctx)
{
    struct serve_session *s = ctx;
    char more[32];

    snprintf(more, sizeof more, "%s%s",
             serve_session_has_extra(s, SMTP_NOOP) ? " NOOP" : "",
             serve_session_offers_tls(s) ? " STARTTLS" : "");
    serve_reply(s, REPLY_HELP, more);
    return FSM_QUIET;
}

unsigned char serve_action_reply_bye(void *ctx)
{
    struct serve_session *s = ctx;
    struct span in = conn_input(&s->conn);

    s->bye = in.n < CONN_SCRATCH && span_find(in, '\n') + 1 == in.n;
    serve_reply(s, REPLY_BYE, NULL);
    return FSM_QUIET;
}

unsigned char serve_action_reply_bad_helo(void *ctx)
{
    return refuse_error(ctx, REPLY_BAD_HELO);
}

unsigned char serve_action_reply_helo_first(void *ctx)
{
    return refuse_error(ctx, REPLY_HELO_FIRST);
}

unsigned char serve_action_reply_no_vrfy(void *ctx)
{
    return refuse_error(ctx, REPLY_NO_VRFY);
}

/* Not counted as an error, because clients keep a session open with NOOP. */
unsigned char serve_action_reply_off(void *ctx)
{
    serve_reply(ctx, REPLY_OFF, NULL);
    return FSM_QUIET;
}

unsigned char serve_action_reply_unknown(void *ctx)
{
    return refuse_error(ctx, REPLY_UNKNOWN);
}

unsigned char serve_action_reply_garbled(void *ctx)
{
    struct serve_session *s = ctx;

    refuse_plainly(s, REPLY_GARBLED);
    return ++s->errors >= s->env->conf->serve.max_errors ? E_ENOUGH : FSM_QUIET;
}

/* A bare LF never ends a line (RFC 5321 2.3.8).  The octets behind it may be a
 * command to one server and an argument to another, so the session ends. */
unsigned char serve_action_reply_bare_lf(void *ctx)
{
    return refuse_plainly(ctx, REPLY_BARE_LF);
}

/* Not SMTP, e.g. an HTTP POST whose body contains SMTP commands
 * (cross-protocol attack). */
unsigned char serve_action_reply_not_smtp(void *ctx)
{
    return refuse_plainly(ctx, REPLY_NOT_SMTP);
}

unsigned char serve_action_reply_early(void *ctx)
{
    return refuse_plainly(ctx, REPLY_EARLY);
}

unsigned char serve_action_reply_need_mail(void *ctx)
{
    return refuse_error(ctx, REPLY_NEED_MAIL);
}

unsigned char serve_action_reply_need_rcpt(void *ctx)
{
    return refuse_error(ctx, REPLY_NEED_RCPT);
}

unsigned char serve_action_reply_nested_mail(void *ctx)
{
    return refuse_error(ctx, REPLY_NESTED_MAIL);
}

unsigned char serve_action_reply_data_syntax(void *ctx)
{
    return refuse_error(ctx, REPLY_DATA_SYNTAX);
}

unsigned char serve_action_reply_no_valid_rcpt(void *ctx)
{
    refuse(ctx, REPLY_NO_VALID_RCPT);
    return serve_refused_enough(ctx) ? E_ENOUGH : FSM_QUIET;
}

unsigned char serve_action_reply_timeout(void *ctx)
{
    return refuse_plainly(ctx, REPLY_TIMEOUT);
}

unsigned char serve_action_reply_slow(void *ctx)
{
    return refuse_plainly(ctx, REPLY_SLOW);
}

unsigned char serve_action_reply_stopping(void *ctx)
{
    serve_reply(ctx, REPLY_STOPPING, hostname_of(ctx));
    return FSM_QUIET;
}

unsigned char serve_action_reply_too_many_errors(void *ctx)
{
    return refuse_plainly(ctx, REPLY_TOO_MANY_ERRORS);
}

unsigned char serve_action_reply_client_refused(void *ctx)
{
    struct serve_session *s = ctx;

    serve_refuse(s, &s->verdict, "");
    return FSM_QUIET;
}

unsigned char serve_action_reply_refused(void *ctx)
{
    struct serve_session *s = ctx;
    char subject[SMTP_ADDRESS_MAX] = "";

    name_subject(s, subject, sizeof subject);
    serve_refuse(s, &s->verdict, subject);
    return serve_refused_enough(s) && !serve_guard_must_close(s) ? E_ENOUGH
                                                                 : FSM_QUIET;
}

/* --- TLS -------------------------------------------------------------- */

unsigned char serve_action_reply_starttls_syntax(void *ctx)
{
    return refuse_error(ctx, REPLY_STARTTLS_SYNTAX);
}

unsigned char serve_action_reply_tls_active(void *ctx)
{
    return refuse_error(ctx, REPLY_TLS_ACTIVE);
}

unsigned char serve_action_reply_tls_in_mail(void *ctx)
{
    return refuse_error(ctx, REPLY_TLS_IN_MAIL);
}

/* No error of the client. */
unsigned char serve_action_reply_no_tls(void *ctx)
{
    refuse(ctx, REPLY_NO_TLS);
    return FSM_QUIET;
}

unsigned char serve_action_start_tls(void *ctx)
{
    struct serve_session *s = ctx;
    struct serve_env *env = s->env;

    if (env->tls == NULL)
        err_set(&env->tls_error, ERR_TEMP, 0, "no certificate is loaded");
    else if (conn_start_tls(&s->conn, env->tls, NULL, &env->tls_error) == 0)
        return FSM_QUIET;
    return E_UNSECURED;
}

/* RFC 3207 4.2: what the client sent behind the command may come from another
 * host, so conn_start_tls() throws it away. */
unsigned char serve_action_reply_start_tls(void *ctx)
{
    serve_reply(ctx, REPLY_START_TLS, NULL);
    return serve_action_start_tls(ctx);
}

static void log_fault(struct serve_session *s, const char *why)
{
    char peer[ADDR_TEXT];

    s->errors++;
    serve_session_log_connect(s);
    addr_text(peer, &s->peer);
    LOG(LOG_INFO, "serve.tls", LS("sid", s->sid), LS("client", peer),
        LS("error", why));
}

unsigned char serve_action_log_no_handshake(void *ctx)
{
    struct serve_session *s = ctx;

    log_fault(s, s->env->tls_error.text);
    return FSM_QUIET;
}

unsigned char serve_action_log_slow_handshake(void *ctx)
{
    log_fault(ctx, "handshake timed out");
    return FSM_QUIET;
}

static void log_secured(const struct serve_session *s)
{
    const struct tls_facts *facts = conn_tls_facts(&s->conn);
    char text[TRACE_TLS_TEXT];

    trace_tls(text, facts->version, facts->cipher);
    if (s->unlogged)
        return;
    LOG(LOG_DEBUG, "serve.tls", LS("sid", s->sid), LS("tls", text),
        LS("resumed", facts->resumed ? "yes" : "no"));
}

/* The banner of a listener with TLS from the first octet. */
unsigned char serve_action_greet_secured(void *ctx)
{
    log_secured(ctx);
    return serve_action_check_client(ctx);
}

/* RFC 3207 4.2: nothing that the client sent in clear counts. */
unsigned char serve_action_forget_hello(void *ctx)
{
    struct serve_session *s = ctx;

    log_secured(s);
    free(s->helo);
    s->helo = NULL;
    s->esmtp = false;
    return FSM_QUIET;
}

/* --- checks ----------------------------------------------------------- */

/* Stop reading; serve_action_resume() goes on with the same command. */
unsigned char serve_action_hold(void *ctx)
{
    ((struct serve_session *)ctx)->held = true;
    return FSM_QUIET;
}

unsigned char serve_action_resume(void *ctx)
{
    struct serve_session *s = ctx;

    s->held = false;
    conn_resume(&s->conn);
    return FSM_QUIET;
}

static unsigned char judge(struct serve_session *s, struct verdict v,
                           unsigned char passed)
{
    s->verdict = v;
    if (v.kind == VERDICT_WAIT)
        return E_WAIT;
    s->delayed = false;
    return v.kind == VERDICT_PASS ? passed : E_REFUSED;
}

unsigned char serve_action_check_client(void *ctx)
{
    struct serve_session *s = ctx;
    unsigned char ev =
        judge(s, policy_ask(&s->policy, POLICY_CONNECT), E_CLIENT_OK);

    if (ev == E_CLIENT_OK && serve_early_before_banner(s))
        return E_EARLY;
    if (ev == E_CLIENT_OK && s->held)
        serve_action_resume(s);
    return ev;
}

unsigned char serve_action_check_helo(void *ctx)
{
    struct serve_session *s = ctx;

    return judge(s, policy_ask(&s->policy, POLICY_HELO), E_HELO_OK);
}

unsigned char serve_action_check_sender(void *ctx)
{
    return judge(ctx, serve_mail_check(ctx), E_SENDER_OK);
}

unsigned char serve_action_reply_sender_ok(void *ctx)
{
    serve_reply(ctx, REPLY_SENDER_OK, NULL);
    return FSM_QUIET;
}

unsigned char serve_action_check_rcpt(void *ctx)
{
    struct serve_session *s = ctx;
    unsigned char ev = judge(s, serve_rcpt_check(s), E_RCPT_OK);

    s->rcpt_refused |= ev == E_REFUSED;
    return ev;
}

unsigned char serve_action_reply_rcpt_ok(void *ctx)
{
    serve_reply(ctx, REPLY_RCPT_OK, NULL);
    return FSM_QUIET;
}

unsigned char serve_action_check_data(void *ctx)
{
    struct serve_session *s = ctx;

    return judge(s, policy_ask(&s->policy, POLICY_DATA), E_DATA_OK);
}

/* --- the text --------------------------------------------------------- */

unsigned char serve_action_open_text(void *ctx)
{
    return serve_data_open(ctx) ? E_OPENED : E_UNSTORED;
}

unsigned char serve_action_reply_go_ahead(void *ctx)
{
    serve_reply(ctx, REPLY_GO_AHEAD, NULL);
    return FSM_QUIET;
}

unsigned char serve_action_check_text(void *ctx)
{
    struct serve_session *s = ctx;

    s->held = false;
    return judge(s, serve_data_check(s), E_TEXT_OK);
}

unsigned char serve_action_reply_text_refused(void *ctx)
{
    struct serve_session *s = ctx;

    serve_refuse(s, &s->verdict, "body");
    serve_transaction_free(&s->transaction);
    conn_resume(&s->conn);
    return serve_refused_enough(s) && !serve_guard_must_close(s) ? E_ENOUGH
                                                                 : FSM_QUIET;
}

unsigned char serve_action_submit(void *ctx)
{
    struct serve_session *s = ctx;

    s->transaction->session = s;
    s->env->submit(s->env->ctx, s->transaction);
    return FSM_QUIET;
}

unsigned char serve_action_reply_queued(void *ctx)
{
    struct serve_session *s = ctx;
    char id[MSG_ID_TEXT];

    s->messages++;
    s->refused = 0;
    msg_id_text(id, s->transaction->id);
    serve_reply(s, REPLY_QUEUED, id);
    return FSM_QUIET;
}

unsigned char serve_action_reply_unstored(void *ctx)
{
    struct serve_session *s = ctx;
    struct verdict v = serve_reject(
        s->transaction->fault == BODY_NO_ROOM ? REPLY_NO_ROOM : REPLY_UNSTORED);

    serve_refuse(s, &v, "body");
    if (!s->transaction->in_commit)
        serve_transaction_free(&s->transaction);
    return FSM_QUIET;
}
