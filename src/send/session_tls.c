/* session_tls.c - STARTTLS (RFC 3207) and what TLS means for each recipient.
 *
 * The handshake fails for no certificate: whether the host is the one that the
 * mail demands is asked for each recipient, before its MAIL.  So mail that
 * takes any session may go in one that other mail cannot use.
 *
 * At the port where TLS begins at once (RFC 8314 3.3) there is no session in
 * clear, whatever the mail demands: a handshake that fails is a host that
 * cannot be reached. */
#include "send/session_tls.h"

#include "recipient/domain.h"
#include "send/session_actions.h"
#include "send/session_auth.h"
#include "send/session_fault.h"
#include "send/tls_policy.h"
#include "send/transaction.h"

#include <string.h>

/* --- what a recipient accepts --------------------------------------------- */

/* The last host and domain are kept: nearly always they are the next ones. */
enum { HOST, DOMAIN };

static bool names(const struct send_session *s, int which, const char *name)
{
    const struct send_tls_name *last = &s->tls.last[which];

    return strcmp(last->name, name) == 0 ? last->named
                                         : conn_tls_names(&s->conn, name);
}

static void keep_name(struct send_session *s, int which, const char *name)
{
    struct send_tls_name *last = &s->tls.last[which];

    if (strcmp(last->name, name) == 0)
        return;
    last->named = names(s, which, name);
    snprintf(last->name, sizeof last->name, "%s", name);
}

/* "": it has none that a certificate could have. */
static const char *domain_of(char out[DOMAIN_MAX + 1], const char *address)
{
    char ascii[DOMAIN_MAX];
    const char *at = strrchr(address, '@');

    if (at == NULL ||
        !span_copy(out, DOMAIN_MAX + 1, domain_ascii(ascii, span_of(at + 1))))
        out[0] = '\0';
    return out;
}

static bool is_verified(const struct send_session *s, const struct delivery *j,
                        const struct delivery_rcpt *r)
{
    char domain[DOMAIN_MAX + 1];

    if (!conn_tls_facts(&s->conn)->chain_good)
        return false;
    if (r->login != 0) /* it fits, so it is that of the session */
        return s->login != NULL && send_auth_is_host(s);
    return (names(s, HOST, delivery_host(j, r)) ||
            names(s, DOMAIN, domain_of(domain, r->address)));
}

static void keep_names(struct send_session *s, const struct delivery *j,
                       const struct delivery_rcpt *r)
{
    char domain[DOMAIN_MAX + 1];

    keep_name(s, HOST, delivery_host(j, r));
    if (!names(s, HOST, delivery_host(j, r)))
        keep_name(s, DOMAIN, domain_of(domain, r->address));
}

/* Weak TLS is only better than clear text. */
static bool is_weak(const struct send_session *s)
{
    const struct tls_facts *f = conn_tls_facts(&s->conn);

    return f != NULL && f->weak;
}

/* 0: the session is what it accepts. */
static enum fault_what fault_of(const struct send_session *s,
                                const struct delivery *j,
                                const struct delivery_rcpt *r)
{
    if (r->tls < CONF_TLS_ENCRYPT)
        return 0;
    if (!conn_is_tls(&s->conn) || is_weak(s))
        return FAULT_NOT_OFFERED;
    return r->tls < CONF_TLS_VERIFY || is_verified(s, j, r) ? 0
                                                            : FAULT_CERTIFICATE;
}

/* Two names of an address may have the same login and different rules.  Mail
 * of the milder one is not for a session that could not log in by the other. */
bool send_tls_fits(const struct send_session *s, const struct delivery *j,
                   const struct delivery_rcpt *r)
{
    return send_auth_fits(s, r) && (r->login == 0 || s->auth.done) &&
           fault_of(s, j, r) == 0;
}

/* Would a session that was opened for it be the same? */
static bool is_own(const struct send_session *s, const struct delivery *j,
                   const struct delivery_rcpt *r)
{
    return s->tls.wanted &&
           span_is_nocase(span_of(delivery_host(j, r)), s->host);
}

static void set_certificate(const struct send_session *s,
                            const struct delivery_rcpt *r, struct answer *why)
{
    const struct tls_facts *f = conn_tls_facts(&s->conn);

    if (!f->chain_good)
        answer_set(why, OUTCOME_NONE, "4.7.5",
                   "server certificate of host %s is not trusted: %s", s->host,
                   f->why);
    else if (r->login != 0)
        answer_set(why, OUTCOME_NONE, "4.7.5",
                   "server certificate not verified: it does not name host"
                   " %.*s, which our login is for",
                   (int)s->login->sasl.host.n, s->login->sasl.host.p);
    else
        answer_set(why, OUTCOME_NONE, "4.7.5",
                   "server certificate not verified: it names neither host %s"
                   " nor the domain of the recipient",
                   s->host);
}

void send_tls_refuse(struct send_session *s, const struct delivery *j,
                     struct delivery_rcpt *r)
{
    struct fault f = { .when = FAULT_TLS, .what = fault_of(s, j, r) };
    struct answer why;

    if (!send_auth_fits(s, r) || f.what == 0 || is_weak(s) ||
        (f.what == FAULT_CERTIFICATE ? !is_own(s, j, r) : !s->tls.wanted)) {
        r->effect = MAIL_MISFIT;
        r->step = STEP_DONE;
        return;
    }
    if (f.what == FAULT_CERTIFICATE)
        set_certificate(s, r, &why);
    else
        answer_set(&why, OUTCOME_NONE, "4.7.4",
                   "TLS is required, but was not offered by host %s", s->host);
    send_session_answer(r, fault_judge(&f), &why);
}

bool send_tls_shuts_out(const struct send_session *s, const struct delivery *j,
                        const struct delivery_rcpt *r)
{
    return s->tls.failed && r->tls >= CONF_TLS_ENCRYPT && is_own(s, j, r);
}

/* --- facts ---------------------------------------------------------------- */

void send_tls_text(char out[SEND_TLS_TEXT], const struct send_session *s)
{
    const struct tls_facts *f = conn_tls_facts(&s->conn);

    if (f == NULL)
        snprintf(out, SEND_TLS_TEXT, "none");
    else
        snprintf(out, SEND_TLS_TEXT, "%s/%s", f->version, f->cipher);
}

void send_tls_note(struct send_session *s, struct delivery *j)
{
    const struct tls_facts *f = conn_tls_facts(&s->conn);

    if (f == NULL)
        return;
    j->tls = *f;
    for (size_t i = 0; f->chain_good && i < j->nrcpt; i++) {
        keep_names(s, j, &j->rcpt[i]);
        j->rcpt[i].verified = is_verified(s, j, &j->rcpt[i]);
    }
}

void send_tls_keep_session(struct send_session *s)
{
    const struct tls_facts *f = conn_tls_facts(&s->conn);
    struct tls_session *newest =
        conn_is_tls(&s->conn) ? conn_tls_take_session(&s->conn) : NULL;

    s->tls.chain_good = f != NULL && f->chain_good;
    if (s->tls.stale || is_weak(s)) /* the next may be for stricter mail */
        tls_session_free(&newest);
    if (newest == NULL && !s->tls.failed && !s->tls.stale)
        return;
    tls_session_free(&s->tls.resume);
    s->tls.resume = newest;
}

/* --- guard and actions ---------------------------------------------------- */

bool send_tls_is_first(const struct send_session *s)
{
    return addr_port(&s->peer) == TLS_FIRST_PORT && !s->end.learned.lmtp;
}

bool send_guard_is_tls_first(const void *ctx)
{
    return send_tls_is_first(ctx);
}

bool send_guard_may_secure(const void *ctx)
{
    const struct send_session *s = ctx;

    return s->tls.wanted && !conn_is_tls(&s->conn) &&
           (s->ext.bits & SMTP_EXT_STARTTLS) != 0;
}

unsigned char send_action_send_starttls(void *ctx)
{
    send_transaction_command(ctx, "STARTTLS");
    return FSM_QUIET;
}

/* The name goes into the handshake, an address does not (RFC 6066 3). */
static const char *sni_of(const struct send_session *s)
{
    struct addr any;

    return addr_parse_ip(&any, span_of(s->host), 0) || s->host[0] == '['
               ? NULL
               : s->host;
}

/* What the host sent in clear behind its reply is thrown away with it.  Nothing
 * is resumed where TLS comes first: the failure would not name the ticket. */
unsigned char send_action_start_tls(void *ctx)
{
    struct send_session *s = ctx;
    struct tls_want want = { .sni = sni_of(s),
                             .resume =
                                 send_tls_is_first(s) ? NULL : s->tls.resume,
                             .any_strength = s->tls.may || !s->tls.wanted };
    struct err e;

    if (conn_start_tls(&s->conn, s->env->tls, &want, &e) != 0)
        s->out_failed = true;
    return FSM_QUIET;
}

/* RFC 3207 4.2: forget what was offered in clear. */
unsigned char send_action_send_ehlo_again(void *ctx)
{
    struct send_session *s = ctx;

    s->ext = (struct smtp_ext){ .bits = 0 };
    return send_action_send_ehlo(s);
}
