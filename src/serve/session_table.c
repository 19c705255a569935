/* session_table.c - the server's side of a session, as rows.
 *
 * The first row that matches wins: a guarded row stands above the unguarded
 * one, a row for one state above FSM_ANY.  `mta fsm server` draws it.  A check
 * action returns ..._OK, E_REFUSED (the reason is in s->verdict) or E_WAIT;
 * after E_WAIT the command stays unread, and E_ANSWERED executes it again. */
#include "log/log.h"
#include "serve/reply.h"
#include "serve/session_private.h"

#include <stdlib.h>
#include <string.h>

/* --- guards: only look ----------------------------------------------- */

static bool bad_helo_name(const void *ctx)
{
    const struct serve_session *s = ctx;
    struct span name;

    return !smtp_helo_name(s->env->command.args, &name);
}

static bool has_argument(const void *ctx)
{
    return ((const struct serve_session *)ctx)->env->command.args.n > 0;
}

static bool all_rcpt_refused(const void *ctx)
{
    return ((const struct serve_session *)ctx)->rcpt_refused;
}

static bool must_close(const void *ctx)
{
    return ((const struct serve_session *)ctx)->verdict.code == 421;
}

static bool is_slow(const void *ctx)
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

static unsigned char reply_banner(void *ctx)
{
    serve_reply(ctx, REPLY_BANNER, hostname_of(ctx));
    return FSM_QUIET;
}

static unsigned char reply_hello(void *ctx)
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

static unsigned char reply_ok(void *ctx)
{
    serve_reply(ctx, REPLY_OK, NULL);
    return FSM_QUIET;
}

static unsigned char reset(void *ctx)
{
    serve_transaction_free(&((struct serve_session *)ctx)->transaction);
    return reply_ok(ctx);
}

static unsigned char reply_help(void *ctx)
{
    serve_reply(ctx, REPLY_HELP, NULL);
    return FSM_QUIET;
}

static unsigned char reply_bye(void *ctx)
{
    struct serve_session *s = ctx;
    struct span in = conn_input(&s->conn);

    s->bye = in.n < CONN_SCRATCH && span_find(in, '\n') + 1 == in.n;
    serve_reply(s, REPLY_BYE, NULL);
    return FSM_QUIET;
}

static unsigned char reply_bad_helo(void *ctx)
{
    return refuse_error(ctx, REPLY_BAD_HELO);
}

static unsigned char reply_helo_first(void *ctx)
{
    return refuse_error(ctx, REPLY_HELO_FIRST);
}

static unsigned char reply_no_vrfy(void *ctx)
{
    return refuse_error(ctx, REPLY_NO_VRFY);
}

/* Not counted as an error, because clients keep a session open with NOOP. */
static unsigned char reply_off(void *ctx)
{
    serve_reply(ctx, REPLY_OFF, NULL);
    return FSM_QUIET;
}

static unsigned char reply_unknown(void *ctx)
{
    return refuse_error(ctx, REPLY_UNKNOWN);
}

static unsigned char reply_garbled(void *ctx)
{
    struct serve_session *s = ctx;

    refuse_plainly(s, REPLY_GARBLED);
    return ++s->errors >= s->env->conf->serve.max_errors ? E_ENOUGH : FSM_QUIET;
}

/* A bare LF never ends a line (RFC 5321 2.3.8).  The octets behind it may be a
 * command to one server and an argument to another, so the session ends. */
static unsigned char reply_bare_lf(void *ctx)
{
    return refuse_plainly(ctx, REPLY_BARE_LF);
}

/* Not SMTP, e.g. an HTTP POST whose body contains SMTP commands
 * (cross-protocol attack). */
static unsigned char reply_not_smtp(void *ctx)
{
    return refuse_plainly(ctx, REPLY_NOT_SMTP);
}

static unsigned char reply_early(void *ctx)
{
    return refuse_plainly(ctx, REPLY_EARLY);
}

static unsigned char reply_need_mail(void *ctx)
{
    return refuse_error(ctx, REPLY_NEED_MAIL);
}

static unsigned char reply_need_rcpt(void *ctx)
{
    return refuse_error(ctx, REPLY_NEED_RCPT);
}

static unsigned char reply_nested_mail(void *ctx)
{
    return refuse_error(ctx, REPLY_NESTED_MAIL);
}

static unsigned char reply_data_syntax(void *ctx)
{
    return refuse_error(ctx, REPLY_DATA_SYNTAX);
}

static unsigned char reply_no_valid_rcpt(void *ctx)
{
    refuse(ctx, REPLY_NO_VALID_RCPT);
    return serve_refused_enough(ctx) ? E_ENOUGH : FSM_QUIET;
}

static unsigned char reply_timeout(void *ctx)
{
    return refuse_plainly(ctx, REPLY_TIMEOUT);
}

static unsigned char reply_slow(void *ctx)
{
    return refuse_plainly(ctx, REPLY_SLOW);
}

static unsigned char reply_stopping(void *ctx)
{
    serve_reply(ctx, REPLY_STOPPING, hostname_of(ctx));
    return FSM_QUIET;
}

static unsigned char reply_too_many_errors(void *ctx)
{
    return refuse_plainly(ctx, REPLY_TOO_MANY_ERRORS);
}

static unsigned char reply_client_refused(void *ctx)
{
    struct serve_session *s = ctx;

    serve_refuse(s, &s->verdict, "");
    return FSM_QUIET;
}

static unsigned char reply_refused(void *ctx)
{
    struct serve_session *s = ctx;
    char subject[SMTP_ADDRESS_MAX] = "";

    name_subject(s, subject, sizeof subject);
    serve_refuse(s, &s->verdict, subject);
    return serve_refused_enough(s) && !must_close(s) ? E_ENOUGH : FSM_QUIET;
}

/* --- checks ----------------------------------------------------------- */

/* Stop reading; resume() goes on with the same command. */
static unsigned char hold(void *ctx)
{
    ((struct serve_session *)ctx)->held = true;
    return FSM_QUIET;
}

static unsigned char resume(void *ctx)
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

/* Octets before the banner come from programs that do not wait for replies.
 * The check delays no other client. */
static unsigned char check_client(void *ctx)
{
    struct serve_session *s = ctx;
    unsigned char ev =
        judge(s, policy_ask(&s->policy, POLICY_CONNECT), E_CLIENT_OK);

    if (ev == E_CLIENT_OK && !s->trusted &&
        s->env->conf->serve.early_talk == CONF_EARLY_TALK_REJECT &&
        conn_has_input(&s->conn))
        return E_EARLY;
    if (ev == E_CLIENT_OK && s->held)
        resume(s);
    return ev;
}

static unsigned char check_helo(void *ctx)
{
    struct serve_session *s = ctx;

    return judge(s, policy_ask(&s->policy, POLICY_HELO), E_HELO_OK);
}

static unsigned char check_sender(void *ctx)
{
    return judge(ctx, serve_mail_check(ctx), E_SENDER_OK);
}

static unsigned char reply_sender_ok(void *ctx)
{
    serve_reply(ctx, REPLY_SENDER_OK, NULL);
    return FSM_QUIET;
}

static unsigned char check_rcpt(void *ctx)
{
    struct serve_session *s = ctx;
    unsigned char ev = judge(s, serve_rcpt_check(s), E_RCPT_OK);

    s->rcpt_refused |= ev == E_REFUSED;
    return ev;
}

static unsigned char reply_rcpt_ok(void *ctx)
{
    serve_reply(ctx, REPLY_RCPT_OK, NULL);
    return FSM_QUIET;
}

static unsigned char check_data(void *ctx)
{
    struct serve_session *s = ctx;

    return judge(s, policy_ask(&s->policy, POLICY_DATA), E_DATA_OK);
}

/* --- the text --------------------------------------------------------- */

static unsigned char open_text(void *ctx)
{
    return serve_data_open(ctx) ? E_OPENED : E_UNSTORED;
}

static unsigned char reply_go_ahead(void *ctx)
{
    serve_reply(ctx, REPLY_GO_AHEAD, NULL);
    return FSM_QUIET;
}

static unsigned char check_text(void *ctx)
{
    struct serve_session *s = ctx;

    s->held = false;
    return judge(s, serve_data_check(s), E_TEXT_OK);
}

static unsigned char reply_text_refused(void *ctx)
{
    struct serve_session *s = ctx;

    serve_refuse(s, &s->verdict, "body");
    serve_transaction_free(&s->transaction);
    conn_resume(&s->conn);
    return serve_refused_enough(s) && !must_close(s) ? E_ENOUGH : FSM_QUIET;
}

static unsigned char submit(void *ctx)
{
    struct serve_session *s = ctx;

    s->transaction->session = s;
    s->env->submit(s->env->ctx, s->transaction);
    return FSM_QUIET;
}

static void reply_accepted(struct serve_session *s, enum serve_reply r)
{
    char id[MSG_ID_TEXT];

    s->messages++;
    s->refused = 0;
    msg_id_text(id, s->transaction->id);
    serve_reply(s, r, id);
}

static unsigned char reply_queued(void *ctx)
{
    reply_accepted(ctx, REPLY_QUEUED);
    return FSM_QUIET;
}

static unsigned char reply_delivered(void *ctx)
{
    reply_accepted(ctx, REPLY_DELIVERED);
    return FSM_QUIET;
}

static unsigned char reply_unstored(void *ctx)
{
    struct serve_session *s = ctx;
    struct verdict v = serve_reject(
        s->transaction->fault == BODY_NO_ROOM ? REPLY_NO_ROOM : REPLY_UNSTORED);

    serve_refuse(s, &v, "body");
    if (!s->transaction->in_commit)
        serve_transaction_free(&s->transaction);
    return FSM_QUIET;
}

/* --- the table -------------------------------------------------------- */

static const char *const state_names[] = { "CONNECTED", "GREETED", "READY",
                                           "MAIL",      "RCPT",    "DATA",
                                           "CHECK",     "COMMIT",  "END" };

static const char *const event_names[] = {
    "HELO",    "EHLO",      "MAIL",      "RCPT",     "DATA",      "RSET",
    "QUIT",    "VRFY",      "NOOP",      "HELP",     "off",       "unknown",
    "garbled", "bare_lf",   "early",     "answered", "timeout",   "hangup",
    "stop",    "connect",   "client_ok", "helo_ok",  "sender_ok", "rcpt_ok",
    "data_ok", "opened",    "dot",       "text_ok",  "wait",      "refused",
    "queued",  "delivered", "unstored",  "enough"
};

/* clang-format off */
static const struct fsm_row rows[] = {
    /*      in           on           only if           do                     then */
    FSM_ROW(S_CONNECTED, E_CONNECT,   NULL,             check_client,          FSM_ANY),
    FSM_ROW(S_CONNECTED, E_ANSWERED,  NULL,             check_client,          FSM_ANY),
    FSM_ROW(S_CONNECTED, E_CLIENT_OK, NULL,             reply_banner,          S_GREETED),
    FSM_ROW(S_CONNECTED, E_REFUSED,   NULL,             reply_client_refused,  S_END),

    FSM_ROW(S_GREETED,   E_MAIL,      NULL,             reply_helo_first,      FSM_ANY),
    FSM_ROW(S_GREETED,   E_RSET,      NULL,             reply_ok,              FSM_ANY),
    FSM_ROW(S_GREETED,   E_UNKNOWN,   NULL,             reply_not_smtp,        S_END),

    FSM_ROW(S_READY,     E_MAIL,      NULL,             check_sender,          FSM_ANY),
    FSM_ROW(S_READY,     E_SENDER_OK, NULL,             reply_sender_ok,       S_MAIL),

    FSM_ROW(S_MAIL,      E_RCPT,      NULL,             check_rcpt,            FSM_ANY),
    FSM_ROW(S_MAIL,      E_RCPT_OK,   NULL,             reply_rcpt_ok,         S_RCPT),
    FSM_ROW(S_MAIL,      E_DATA,      all_rcpt_refused, reply_no_valid_rcpt,   FSM_ANY),

    FSM_ROW(S_RCPT,      E_RCPT,      NULL,             check_rcpt,            FSM_ANY),
    FSM_ROW(S_RCPT,      E_RCPT_OK,   NULL,             reply_rcpt_ok,         FSM_ANY),
    FSM_ROW(S_RCPT,      E_DATA,      has_argument,     reply_data_syntax,     FSM_ANY),
    FSM_ROW(S_RCPT,      E_DATA,      NULL,             check_data,            FSM_ANY),
    FSM_ROW(S_RCPT,      E_DATA_OK,   NULL,             open_text,             S_DATA),

    FSM_ROW(S_DATA,      E_OPENED,    NULL,             reply_go_ahead,        FSM_ANY),
    FSM_ROW(S_DATA,      E_UNSTORED,  NULL,             reply_unstored,        S_READY),
    FSM_ROW(S_DATA,      E_DOT,       NULL,             check_text,            S_CHECK),
    FSM_ROW(S_DATA,      E_TIMEOUT,   is_slow,          reply_slow,            S_END),
    FSM_ROW(S_DATA,      E_STOP,      NULL,             NULL,                  FSM_ANY),

    FSM_ROW(S_CHECK,     E_ANSWERED,  NULL,             check_text,            FSM_ANY),
    FSM_ROW(S_CHECK,     E_TEXT_OK,   NULL,             submit,                S_COMMIT),
    FSM_ROW(S_CHECK,     E_REFUSED,   must_close,       reply_text_refused,    S_END),
    FSM_ROW(S_CHECK,     E_REFUSED,   NULL,             reply_text_refused,    S_READY),
    FSM_ROW(S_CHECK,     E_STOP,      NULL,             NULL,                  FSM_ANY),

    FSM_ROW(S_COMMIT,    E_QUEUED,    NULL,             reply_queued,          S_READY),
    FSM_ROW(S_COMMIT,    E_DELIVERED, NULL,             reply_delivered,       S_READY),
    FSM_ROW(S_COMMIT,    E_UNSTORED,  NULL,             reply_unstored,        S_READY),
    FSM_ROW(S_COMMIT,    E_STOP,      NULL,             NULL,                  FSM_ANY),

    FSM_ROW(FSM_ANY,     E_HELO,      bad_helo_name,    reply_bad_helo,        FSM_ANY),
    FSM_ROW(FSM_ANY,     E_HELO,      NULL,             check_helo,            FSM_ANY),
    FSM_ROW(FSM_ANY,     E_EHLO,      bad_helo_name,    reply_bad_helo,        FSM_ANY),
    FSM_ROW(FSM_ANY,     E_EHLO,      NULL,             check_helo,            FSM_ANY),
    FSM_ROW(FSM_ANY,     E_HELO_OK,   NULL,             reply_hello,           S_READY),
    FSM_ROW(FSM_ANY,     E_RSET,      NULL,             reset,                 S_READY),
    FSM_ROW(FSM_ANY,     E_NOOP,      NULL,             reply_ok,              FSM_ANY),
    FSM_ROW(FSM_ANY,     E_HELP,      NULL,             reply_help,            FSM_ANY),
    FSM_ROW(FSM_ANY,     E_VRFY,      NULL,             reply_no_vrfy,         FSM_ANY),
    FSM_ROW(FSM_ANY,     E_OFF,       NULL,             reply_off,             FSM_ANY),
    FSM_ROW(FSM_ANY,     E_UNKNOWN,   NULL,             reply_unknown,         FSM_ANY),
    FSM_ROW(FSM_ANY,     E_QUIT,      NULL,             reply_bye,             S_END),
    FSM_ROW(FSM_ANY,     E_GARBLED,   NULL,             reply_garbled,         FSM_ANY),
    FSM_ROW(FSM_ANY,     E_BARE_LF,   NULL,             reply_bare_lf,         S_END),
    FSM_ROW(FSM_ANY,     E_EARLY,     NULL,             reply_early,           S_END),
    FSM_ROW(FSM_ANY,     E_WAIT,      NULL,             hold,                  FSM_ANY),
    FSM_ROW(FSM_ANY,     E_ANSWERED,  NULL,             resume,                FSM_ANY),
    FSM_ROW(FSM_ANY,     E_REFUSED,   must_close,       reply_refused,         S_END),
    FSM_ROW(FSM_ANY,     E_REFUSED,   NULL,             reply_refused,         FSM_ANY),
    FSM_ROW(FSM_ANY,     E_TIMEOUT,   NULL,             reply_timeout,         S_END),
    FSM_ROW(FSM_ANY,     E_STOP,      NULL,             reply_stopping,        S_END),
    FSM_ROW(FSM_ANY,     E_HANGUP,    NULL,             NULL,                  S_END),
    FSM_ROW(FSM_ANY,     E_ENOUGH,    NULL,             reply_too_many_errors, S_END),

    FSM_ROW(FSM_ANY,     E_MAIL,      NULL,             reply_nested_mail,     FSM_ANY),
    FSM_ROW(FSM_ANY,     E_RCPT,      NULL,             reply_need_mail,       FSM_ANY),
    FSM_ROW(FSM_ANY,     E_DATA,      NULL,             reply_need_rcpt,       FSM_ANY),
};
/* clang-format on */

const struct fsm serve_session_fsm = {
    .name = "server",
    .state_names = state_names,
    .event_names = event_names,
    .nstates = S_NSTATES,
    .nevents = E_NEVENTS,
    .noutside = E_NOUTSIDE,
    .start = S_CONNECTED,
    .end = S_END,
    .rows = rows,
    .nrows = sizeof rows / sizeof rows[0],
};
