/* session_auth.c - AUTH (RFC 4954): the login at a next hop.
 *
 * A login is refused, or impossible, by our settings, and the mail waits for
 * them; but a host that cannot tell now (454), or dies over it, is one that
 * fails for the mail of this login. */
#include "send/session_auth.h"

#include "base/digest_hmac.h"
#include "net/tls.h"
#include "send/session_actions.h"
#include "send/session_fault.h"
#include "send/transaction.h"

#include <stdlib.h>
#include <string.h>

enum { COMMAND_MAX = 512 - 2 /* RFC 4954 4: with an initial response */ };

/* --- which mail ----------------------------------------------------------- */

bool send_auth_fits(const struct send_session *s, const struct delivery_rcpt *r)
{
    return r->login == (s->login != NULL ? s->login->number : 0);
}

bool send_auth_ended(const struct send_session *s)
{
    return s->end.mail == MAIL_NO_LOGIN || s->end.mail == MAIL_SHUT_OUT;
}

bool send_auth_failed(const struct send_session *s,
                      const struct delivery_rcpt *r)
{
    return send_auth_ended(s) && r->login != 0 && send_auth_fits(s, r);
}

bool send_auth_is_host(const struct send_session *s)
{
    return login_is_for(&s->conn, s->login->sasl.host.p, s->host);
}

/* --- an exchange ---------------------------------------------------------- */

static void end_exchange(struct send_session *s)
{
    if (s->auth.exchange != NULL)
        sasl_end(s->auth.exchange);
    free(s->auth.exchange);
    s->auth.exchange = NULL;
}

void send_auth_end(struct send_session *s)
{
    end_exchange(s);
    session_login_free(&s->login);
}

const char *send_auth_text(const struct send_session *s)
{
    return s->auth.done ? sasl_name(s->auth.mechanism) : NULL;
}

static int begin(struct send_session *s, struct err *e)
{
    unsigned char octets[SASL_NONCE * 3 / 4];
    struct span offered = span_of(s->ext.auth);

    s->auth.mechanism = sasl_choose(offered, s->login->mechanisms);
    if (s->auth.mechanism == SASL_NONE)
        return err_set(e, ERR_PERM, 0,
                       "it offers none of our mechanisms of"
                       " AUTH, but \"%s\"",
                       s->ext.auth);
    s->auth.exchange = malloc(sizeof *s->auth.exchange);
    if (s->auth.exchange == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for AUTH");
    memset(s->auth.exchange, 0, sizeof *s->auth.exchange);
    if (digest_random(octets, sizeof octets, e) != 0)
        return -1;
    sasl_begin(s->auth.exchange, s->auth.mechanism, &s->login->sasl, octets);
    return 0;
}

static void put_line(struct send_session *s, const struct buf *line)
{
    send_transaction_put(s, line->p, line->n);
    send_transaction_put(s, "\r\n", 2);
}

static unsigned char give_up(struct send_session *s, const struct err *e)
{
    snprintf(s->auth.why, sizeof s->auth.why, "%.*s",
             (int)sizeof s->auth.why - 1, e->text);
    return E_NO_LOGIN;
}

/* One that does not fit follows behind an empty challenge. */
static int add_initial(struct send_session *s, struct buf *line, struct err *e)
{
    struct sasl before = *s->auth.exchange;
    size_t n = line->n;
    int rc = 0;

    if (!sasl_speaks_first(s->auth.exchange))
        return 0;
    buf_addc(line, ' ');
    rc = sasl_respond(s->auth.exchange, SPAN_LIT(""), line, e);
    if (rc == 0 && line->n > COMMAND_MAX) {
        line->n = n;
        *s->auth.exchange = before;
    }
    sasl_end(&before);
    return rc;
}

unsigned char send_action_send_auth(void *ctx)
{
    struct send_session *s = ctx;
    char memory[SASL_LINE_MAX + 64];
    struct buf line = BUF_ON(memory);
    struct err e;
    int rc = begin(s, &e);

    if (rc == 0) {
        buf_addf(&line, "AUTH %s", sasl_name(s->auth.mechanism));
        rc = add_initial(s, &line, &e);
    }
    if (rc == 0)
        put_line(s, &line);
    explicit_bzero(memory, sizeof memory);
    return rc == 0 ? FSM_QUIET : give_up(s, &e);
}

/* A reply that is no challenge, or one that cannot be answered, ends it: "*"
 * cancels (RFC 4954 4). */
static unsigned char follow(struct send_session *s, int rc,
                            const struct buf *line, const struct err *e)
{
    if (rc == 0)
        put_line(s, line);
    else if (rc < 0)
        send_transaction_command(s, "*");
    s->more = rc > 0;
    explicit_bzero(line->p, line->n);
    return rc >= 0 ? FSM_QUIET : give_up(s, e);
}

unsigned char send_action_answer_challenge(void *ctx)
{
    struct send_session *s = ctx;
    char memory[SASL_LINE_MAX + 1];
    struct buf line = BUF_ON(memory);
    struct err e;
    int rc =
        s->reply.status.code == 334
            ? sasl_respond(s->auth.exchange, span_of(s->reply.text), &line, &e)
            : err_set(&e, ERR_PROTO, 0, "unexpected reply %u to AUTH",
                      s->reply.status.code);

    return follow(s, rc, &line, &e);
}

/* The host has chosen how many rounds a proof takes: other sessions have their
 * turns meanwhile. */
unsigned char send_action_go_on_login(void *ctx)
{
    struct send_session *s = ctx;
    char memory[SASL_LINE_MAX + 1];
    struct buf line = BUF_ON(memory);
    struct err e;

    if (!s->auth.exchange->busy)
        return FSM_QUIET; /* output was taken */
    return follow(s, sasl_go_on(s->auth.exchange, &line, &e), &line, &e);
}

/* --- its end -------------------------------------------------------------- */

static void denial_of(const struct send_session *s, char *out, size_t size)
{
    const struct sasl *x = s->auth.exchange;

    out[0] = '\0';
    if (x != NULL && x->denial[0] != '\0')
        snprintf(out, size, " (%.200s)", x->denial);
}

static bool is_reply(const struct send_session *s)
{
    return s->event == E_4XX || s->event == E_5XX || s->event == E_421;
}

/* The text of the host may be that of any program; the reason has our user. */
void send_auth_set_reason(const struct send_session *s,
                          const struct fault_rule *rule, struct answer *why)
{
    const char *status = rule->whose == WHOSE_SETTING ? "4.3.5"
                         : is_reply(s)                ? "4.7.0"
                                                      : "4.4.2";
    struct span user = s->login->sasl.user;
    char denial[220];

    denial_of(s, denial, sizeof denial);
    if (is_reply(s)) {
        answer_set(why, OUTCOME_NONE, status,
                   "host %s refused our login as %.*s: %u %s%s", s->host,
                   (int)user.n, user.p, s->reply.status.code, s->reply.text,
                   denial);
        why->status.code = s->reply.status.code;
        return;
    }
    answer_set(why, OUTCOME_NONE, status, "login at host %s as %.*s failed: %s",
               s->host, (int)user.n, user.p,
               s->auth.why[0] != '\0'  ? s->auth.why
               : s->event == E_TIMEOUT ? "timed out in AUTH"
               : s->event == E_CLOSED  ? "lost connection in AUTH"
                                       : "broken reply to AUTH");
}

/* Where it may not, the mail is refused for what TLS is there.  A login whose
 * level is `may` is one of settings with send.tls = none. */
bool send_guard_may_log_in(const void *ctx)
{
    const struct send_session *s = ctx;

    if (s->login == NULL || s->login->tls < CONF_TLS_ENCRYPT)
        return s->login != NULL;
    if (!conn_is_tls(&s->conn))
        return false;
    return s->login->tls < CONF_TLS_VERIFY ||
           (conn_tls_facts(&s->conn)->chain_good && send_auth_is_host(s));
}

bool send_guard_is_proven(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->reply.status.code == 235 &&
           sasl_succeed(s->auth.exchange, NULL) == 0;
}

unsigned char send_action_log_in(void *ctx)
{
    struct send_session *s = ctx;

    s->auth.done = true;
    end_exchange(s);
    return send_action_ready(s);
}

unsigned char send_action_refuse_login(void *ctx)
{
    struct send_session *s = ctx;
    struct err e;

    bool accepted = s->event == E_2XX && s->auth.why[0] == '\0';

    s->was = S_AUTH; /* it may have ended before its first reply */
    if (accepted && sasl_succeed(s->auth.exchange, &e) != 0)
        (void)give_up(s, &e);
    else if (accepted)
        snprintf(s->auth.why, sizeof s->auth.why, "unexpected reply %u to AUTH",
                 s->reply.status.code);
    send_session_lose(s);
    end_exchange(s);
    return send_action_send_quit(s);
}
