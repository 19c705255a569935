/* data.c - DATA: begin the text with the trace field; checks before the reply
 * to the dot. */
#include "base/clock.h"
#include "log/log.h"
#include "mail/trace.h"
#include "serve/reply.h"
#include "serve/session_private.h"

#include <stdio.h>

/* RFC 3848, RFC 6531 4.3; there is no word for HELO in TLS. */
static const char *const with[3][2] = { { "SMTP", "SMTP" },
                                        { "ESMTP", "ESMTPS" },
                                        { "UTF8SMTP", "UTF8SMTPS" } };

static void write_trace(struct serve_session *s, struct buf *out)
{
    const struct serve_transaction *t = s->transaction;
    const struct policy_rdns *rdns = &s->policy.rdns;
    char peer[ADDR_PORT_TEXT] = "", ip[ADDR_TEXT], rcpt[SMTP_ADDRESS_MAX];

    const struct tls_facts *tls = conn_tls_facts(&s->conn);

    addr_text(ip, &s->peer);
    snprintf(peer, sizeof peer, "%s%s", addr_is_v6(&s->peer) ? "IPv6:" : "",
             ip);
    struct trace trace = {
        .is_local = addr_is_unix(&s->peer),
        .uid = addr_is_unix(&s->peer) ? s->peer.u.local.uid : 0,
        .helo = s->helo,
        .client = peer,
        .client_name = rdns->name,
        .name_confirmed = rdns->name != NULL && rdns->status == FCRDNS_OK,
        .by = s->env->conf->hostname,
        .with = with[(t->flags & SPOOL_UTF8) != 0 ? 2 : s->esmtp][tls != NULL],
        .tls_version = tls != NULL ? tls->version : NULL,
        .tls_cipher = tls != NULL ? tls->cipher : NULL,
        .tls_bits = tls != NULL ? tls->bits : 0,
        .tls_of_bits = tls != NULL ? tls->of_bits : 0,
        .id = t->id,
        .rcpt = serve_transaction_only_rcpt(t, rcpt),
        .when = clock_wall_us(),
    };
    trace_received(out, &trace);
}

static int add_origin(struct serve_session *s)
{
    struct serve_transaction *t = s->transaction;
    char ip[ADDR_TEXT], tls[TRACE_TLS_TEXT], uid[16];

    addr_text(ip, &s->peer);
    if (serve_transaction_add_field(t, SPOOL_F_SID, span_of(s->sid)) != 0 ||
        serve_transaction_add_field(t, SPOOL_F_CLIENT, span_of(ip)) != 0)
        return -1;
    if (addr_is_unix(&s->peer)) {
        snprintf(uid, sizeof uid, "%u", (unsigned)s->peer.u.local.uid);
        if (serve_transaction_add_field(t, SPOOL_F_UID, span_of(uid)) != 0)
            return -1;
    }
    if (t->tls_version != NULL) {
        trace_tls(tls, t->tls_version, t->tls_cipher);
        if (serve_transaction_add_field(t, SPOOL_F_TLS, span_of(tls)) != 0)
            return -1;
    }
    return serve_transaction_add_field(t, SPOOL_F_HELO, span_of(s->helo));
}

/* All recipients are known, and so is the queue. */
static bool give_id(struct serve_session *s)
{
    struct serve_transaction *t = s->transaction;
    enum spool_name queue = serve_transaction_queue(t);
    struct err e;

    t->writer = s->env->writer[queue];
    if (s->env->new_id(s->env->ctx, queue, &t->id, &e) == 0)
        return true;
    log_err(LOG_ERROR, "serve.spool", &e);
    if (err_is_full(&e))
        t->fault = BODY_NO_ROOM;
    return false;
}

bool serve_data_open(struct serve_session *s)
{
    struct serve_transaction *t = s->transaction;
    char text[TRACE_MAX];
    struct buf trace = BUF_ON(text);

    if (!give_id(s) || add_origin(s) != 0)
        return false;
    write_trace(s, &trace);
    serve_transaction_begin(t, buf_span(&trace));
    if ((t->flags & SPOOL_SIGN) != 0 && s->env->conf->dkim.keys.n > 0 &&
        serve_transaction_queue(t) == SPOOL_REMOTE)
        serve_transaction_hash(t);
    if (s->trusted && !serve_transaction_rewrite_header(t, s->env->conf,
                                                        addr_is_unix(&s->peer)))
        return false;
    t->began = loop_now(s->env->conns->loop);
    t->dot.normalize = s->trusted && s->env->conf->serve.bare_newline ==
                                         CONF_NEWLINE_NORMALIZE;
    return true;
}

/* The verdict about the body.  A bare CR or LF may be its last octet, so the
 * decoder's flags are final only at the dot. */
static struct verdict check_faults(const struct serve_transaction *t)
{
    switch (t->fault) {
    case BODY_TOO_BIG: return serve_reject(REPLY_TOO_BIG);
    case BODY_NO_ROOM: return serve_reject(REPLY_NO_ROOM);
    case BODY_LOOPS: return serve_reject(REPLY_TOO_MANY_HOPS);
    case BODY_NUL_DOT: return serve_reject(REPLY_NUL_DOT);
    case BODY_BARE_NEWLINE: return serve_reject(REPLY_BARE_NEWLINE);
    case BODY_FINE: break;
    }
    if (t->dot.nul_dot)
        return serve_reject(REPLY_NUL_DOT);
    if ((t->dot.bare_cr || t->dot.bare_lf) && !t->dot.normalize)
        return serve_reject(REPLY_BARE_NEWLINE);
    return (struct verdict){ .kind = VERDICT_PASS };
}

struct verdict serve_data_check(struct serve_session *s)
{
    serve_transaction_text_over(s->transaction);
    struct verdict v = check_faults(s->transaction);

    return v.kind == VERDICT_PASS ? policy_ask(&s->policy, POLICY_DOT) : v;
}
