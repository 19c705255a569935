/* mail_rcpt.c - checks of MAIL and RCPT. */
#include "log/log.h"
#include "serve/reply.h"
#include "serve/session_private.h"
#include "smtp/address.h"
#include "smtp/dsn.h"

#include <string.h>

static const struct verdict pass = { .kind = VERDICT_PASS };

struct args {
    struct span path;
    struct smtp_param param[SMTP_PARAMS_MAX];
    size_t nparam;
};

static struct verdict take_args(const struct serve_session *s,
                                const char *keyword, struct args *a)
{
    a->nparam = SMTP_PARAMS_MAX;
    switch (smtp_path_args(s->env->command.args, keyword, &a->path, a->param,
                           &a->nparam)) {
    case SMTP_SYNTAX_OK: return pass;
    case SMTP_SYNTAX_BARE: /* sent by old printers */
        if (s->trusted)
            return pass;
        break;
    case SMTP_SYNTAX_BAD: break;
    case SMTP_SYNTAX_PARAMS: return serve_reject(REPLY_PARAM_SYNTAX);
    case SMTP_SYNTAX_TWICE: return serve_reject(REPLY_PARAM_TWICE);
    }
    return serve_reject(*keyword == 'F' ? REPLY_MAIL_SYNTAX
                                        : REPLY_RCPT_SYNTAX);
}

static struct verdict reject_param(struct span key)
{
    struct verdict v = serve_reject(REPLY_PARAM_UNKNOWN);

    if (key.n <= 64)
        v.detail = key;
    return v;
}

/* RFC 3461: why is NULL, or the reason against the value. */
static struct verdict take_dsn(const struct serve_session *s, struct span *to,
                               const struct smtp_param *q, enum serve_reply r,
                               const char *why)
{
    struct verdict v = serve_reject(r);

    if (!serve_session_offers_dsn(s))
        return reject_param(q->key);
    if (why != NULL) {
        v.detail = span_of(why);
        return v;
    }
    *to = q->value;
    return pass;
}

static struct verdict bad_address(enum serve_reply r,
                                  enum smtp_address_error why)
{
    struct verdict v = serve_reject(r);

    v.detail = span_of(smtp_address_why(why));
    return v;
}

/* --- MAIL ------------------------------------------------------------ */

struct mail_params {
    unsigned long long size;
    unsigned flags;
    struct span ret, envid; /* n 0: not given */
};

static struct verdict take_size(const struct serve_session *s, struct span v,
                                struct mail_params *p)
{
    long long max = s->env->conf->serve.max_message_size;

    if (v.p == NULL || v.n > 20 || !span_u64(v, ~0ull, &p->size))
        return serve_reject(REPLY_SIZE_SYNTAX);
    if (max > 0 && p->size > (unsigned long long)max) /* RFC 1870 6.1 */
        return serve_reject(REPLY_TOO_BIG);
    return pass;
}

static struct verdict take_mail_param(const struct serve_session *s,
                                      const struct smtp_param *q,
                                      struct mail_params *p)
{
    if (span_is_nocase(q->key, "SIZE"))
        return take_size(s, q->value, p);
    if (span_is_nocase(q->key, "SMTPUTF8") && q->value.p == NULL) {
        p->flags |= SPOOL_UTF8;
        return pass;
    }
    if (span_is_nocase(q->key, "XQUEUEONLY") && q->value.p == NULL &&
        addr_is_unix(&s->peer)) {
        p->flags |= SPOOL_LATER;
        return pass;
    }
    if (span_is_nocase(q->key, "RET"))
        return take_dsn(s, &p->ret, q, REPLY_RET_SYNTAX,
                        smtp_dsn_check_ret(q->value));
    if (span_is_nocase(q->key, "ENVID"))
        return take_dsn(s, &p->envid, q, REPLY_ENVID_SYNTAX,
                        smtp_dsn_check_envid(q->value));
    if (!span_is_nocase(q->key, "BODY"))
        return reject_param(q->key);
    if (span_is_nocase(q->value, "8BITMIME"))
        p->flags |= SPOOL_8BIT;
    else if (!span_is_nocase(q->value, "7BIT"))
        return serve_reject(REPLY_BODY_SYNTAX);
    return pass;
}

/* A program of this host may name users without their domain (RFC 6409 6.3);
 * rules for recipients are for mail of any client. */
static bool rewrites(const struct serve_session *s)
{
    return addr_is_unix(&s->peer) ||
           (rewrite_wanted(s->env->conf) &&
            (s->trusted || s->env->conf->rewrite.rules.n > 0));
}

static struct verdict check_sender(const struct serve_session *s,
                                   struct smtp_address *a,
                                   struct mail_params *p)
{
    struct args args;
    struct verdict v = take_args(s, "FROM:", &args);

    for (size_t i = 0; i < args.nparam && v.kind == VERDICT_PASS; i++)
        v = take_mail_param(s, &args.param[i], p);
    if (v.kind != VERDICT_PASS)
        return v;
    enum smtp_address_error bad = smtp_address_parse(a, args.path);
    if (bad == SMTP_ADDRESS_EMPTY) {
        a->text = span_of("");
        return pass;
    }
    if (bad != SMTP_ADDRESS_OK &&
        !(bad == SMTP_ADDRESS_NO_DOMAIN && s->trusted && rewrites(s)))
        return bad_address(REPLY_BAD_SENDER, bad);
    if (a->is_utf8 && !(p->flags & SPOOL_UTF8))
        return serve_reject(REPLY_NEED_UTF8);
    return pass;
}

static struct verdict check_room(const struct serve_session *s, uint64_t size)
{
    struct err e;

    if (s->env->has_room(s->env->ctx, size, &e) == 0)
        return pass;
    log_err(LOG_WARN, "serve.full", &e);
    return serve_reject(REPLY_NO_ROOM);
}

/* Before the first recipient, or readers stop in front of them. */
static bool add_mail_fields(struct serve_transaction *t,
                            const struct mail_params *p)
{
    return (p->ret.n == 0 ||
            serve_transaction_add_field(t, SPOOL_F_RET, p->ret) == 0) &&
           (p->envid.n == 0 ||
            serve_transaction_add_field(t, SPOOL_F_ENVID, p->envid) == 0);
}

/* NULL: no memory. */
static struct serve_transaction *new_transaction(struct serve_session *s,
                                                 struct span sender,
                                                 const struct mail_params *p)
{
    struct serve_env *env = s->env;
    struct serve_rewrite *rewrite = NULL;
    char now[SMTP_ADDRESS_MAX];

    if (rewrites(s) && (rewrite = serve_rewrite_new()) == NULL)
        return NULL;
    if (s->trusted && serve_rewrite_address(rewrite, env->conf,
                                            CONF_REWRITE_SENDER, sender, now))
        sender = span_of(now);
    struct serve_transaction *t =
        serve_transaction_new(env->conns->blocks, sender, &env->transactions);
    if (t == NULL || !add_mail_fields(t, p)) {
        serve_rewrite_free(&rewrite);
        serve_transaction_free(&t);
        return NULL;
    }
    t->rewrite = rewrite;
    return t;
}

static struct verdict open_transaction(struct serve_session *s,
                                       struct span sender,
                                       const struct mail_params *p)
{
    struct serve_env *env = s->env;
    struct serve_transaction *t = new_transaction(s, sender, p);

    if (t == NULL)
        return serve_reject(REPLY_NO_ROOM);
    memcpy(t->sid, s->sid, sizeof s->sid);
    const struct tls_facts *tls = conn_tls_facts(&s->conn);
    if (tls != NULL) {
        t->tls_version = tls->version;
        t->tls_cipher = tls->cipher;
    }
    t->flags = p->flags | (s->trusted ? SPOOL_SIGN : 0u);
    t->max_size = (uint64_t)env->conf->serve.max_message_size;
    t->bodies = env->bodies;
    s->transaction = t;
    s->rcpt_refused = false;
    return pass;
}

struct verdict serve_mail_check(struct serve_session *s)
{
    struct mail_params p = { .flags = 0 };
    struct smtp_address a;
    struct verdict v = check_sender(s, &a, &p);

    if (v.kind == VERDICT_PASS)
        v = check_room(s, p.size);
    if (v.kind == VERDICT_PASS)
        v = policy_ask(&s->policy, POLICY_MAIL);
    return v.kind == VERDICT_PASS ? open_transaction(s, a.text, &p) : v;
}

/* --- RCPT ------------------------------------------------------------ */

/* Delay, then disconnect a client that guesses addresses; its unknown
 * recipients are counted across sessions. */
static struct verdict reject_unknown(struct serve_session *s,
                                     enum serve_reply r)
{
    unsigned long long max =
        (unsigned long long)s->env->conf->serve.max_unknown;

    if (!s->trusted && max > 0 && !s->delayed) {
        unsigned n = s->env->count_unknown(s->env->ctx, &s->peer);
        if (n > 2 * max)
            return serve_reject(REPLY_TOO_MANY_UNKNOWN);
        if (n > max) {
            serve_session_delay(s, s->env->unknown_delay_ms);
            return (struct verdict){ .kind = VERDICT_WAIT };
        }
    }
    s->delayed = false;
    return serve_reject(r);
}

/* Of its own, as other hosts do.  A program of this host has none: a recipient
 * that has to wait must not cost it the message. */
static bool has_queue(const struct serve_session *s)
{
    return !addr_is_unix(&s->peer);
}

/* key: of the mailbox, if it is known. */
static struct verdict check_full(const struct serve_session *s, const char *key)
{
    const struct full_page *full = s->env->full;
    uint64_t now = loop_now(s->env->conns->loop);

    if (full == NULL || !has_queue(s))
        return pass;
    if (full_page_disk(full, now))
        return serve_reject(REPLY_NO_ROOM);
    return key[0] != '\0' && full_page_mailbox(full, key, now)
               ? serve_reject(REPLY_OVER_QUOTA)
               : pass;
}

static struct verdict check_local(struct serve_session *s,
                                  const struct smtp_address *a)
{
    char local[SMTP_ADDRESS_MAX], key[LOCAL_KEY_MAX];

    if (!smtp_local_unquote(local, sizeof local, a->local))
        return reject_unknown(s, REPLY_UNKNOWN_USER);
    switch (s->env->check_local(s->env->ctx, span_of(local), a->domain, key)) {
    case LOCAL_OK: return check_full(s, key);
    case LOCAL_UNSUPPORTED: return pass; /* waits in the queue */
    case LOCAL_WAIT: return serve_session_ask_later(s);
    case LOCAL_UNKNOWN: return reject_unknown(s, REPLY_UNKNOWN_USER);
    case LOCAL_LOOP: return serve_reject(REPLY_ALIAS_LOOP);
    case LOCAL_STOPPED:
    case LOCAL_TEMP: break;
    }
    return has_queue(s) ? serve_reject(REPLY_LOOKUP_FAILED) : pass;
}

struct rcpt_params {
    struct span notify, orcpt; /* n 0: not given */
};

static struct verdict take_rcpt_param(const struct serve_session *s,
                                      const struct smtp_param *q,
                                      struct rcpt_params *p)
{
    bool utf8 = (s->transaction->flags & SPOOL_UTF8) != 0;
    unsigned bits;

    if (span_is_nocase(q->key, "NOTIFY"))
        return take_dsn(s, &p->notify, q, REPLY_NOTIFY_SYNTAX,
                        smtp_dsn_check_notify(q->value, &bits));
    if (span_is_nocase(q->key, "ORCPT"))
        return take_dsn(s, &p->orcpt, q, REPLY_ORCPT_SYNTAX,
                        smtp_dsn_check_orcpt(q->value, utf8));
    return reject_param(q->key);
}

static struct verdict check_address(const struct serve_session *s,
                                    struct smtp_address *a,
                                    struct rcpt_params *p)
{
    struct args args;
    struct verdict v = take_args(s, "TO:", &args);

    for (size_t i = 0; i < args.nparam && v.kind == VERDICT_PASS; i++)
        v = take_rcpt_param(s, &args.param[i], p);
    if (v.kind != VERDICT_PASS)
        return v;
    enum smtp_address_error bad = smtp_address_parse(a, args.path);
    /* RFC 5321 4.5.1: <postmaster> needs no domain. */
    if (bad == SMTP_ADDRESS_NO_DOMAIN &&
        (span_is_nocase(a->local, "postmaster") ||
         (s->trusted && s->transaction->rewrite != NULL)))
        return pass;
    if (bad != SMTP_ADDRESS_OK)
        return bad_address(REPLY_BAD_RCPT, bad);
    if (a->is_utf8 && !(s->transaction->flags & SPOOL_UTF8))
        return serve_reject(REPLY_NEED_UTF8);
    return serve_transaction_nrcpt(s->transaction) <
                   s->env->conf->serve.max_recipients
               ? pass
               : serve_reject(REPLY_TOO_MANY_RCPT);
}

static struct verdict check_remote(struct serve_session *s,
                                   const struct smtp_address *a)
{
    const struct serve_env *env = s->env;
    char local[SMTP_ADDRESS_MAX];
    enum relay_verdict v = RELAY_NO;

    if (env->check_relay != NULL && !a->is_literal &&
        smtp_local_unquote(local, sizeof local, a->local))
        v = env->check_relay(env->ctx, span_of(local), a->domain);
    if (v == RELAY_UNKNOWN)
        return reject_unknown(s, REPLY_UNKNOWN_RELAY);
    return v == RELAY_OK || s->trusted ? pass
                                       : serve_reject(REPLY_RELAY_DENIED);
}

static bool is_own_literal(const struct serve_session *s, struct span ip)
{
    struct addr literal, own = { .u.sa.sa_family = AF_UNSPEC };
    socklen_t len = sizeof own.u;

    ip.p++;
    ip.n -= 2;
    if (span_starts_nocase(ip, "IPv6:")) {
        ip.p += 5;
        ip.n -= 5;
    }
    if (addr_is_unix(&s->peer))
        return addr_parse_ip(&literal, ip, 0) && addr_is_loopback(&literal);
    return addr_parse_ip(&literal, ip, 0) &&
           getsockname(s->conn.io.fd, &own.u.sa, &len) == 0 &&
           (addr_from_sockaddr(&own, &own.u.sa),
            addr_same_host(&literal, &own));
}

static enum serve_place place_of(const struct serve_session *s,
                                 const struct smtp_address *a)
{
    if (a->is_literal)
        return is_own_literal(s, a->domain) ? PLACE_HERE : PLACE_REMOTE;
    return s->env->has_domain(s->env->ctx, a->domain) ? PLACE_LOCAL
                                                      : PLACE_REMOTE;
}

/* A recipient without its parameters would be another one. */
static int add_recipient(struct serve_transaction *t, struct span address,
                         enum serve_place place, const struct rcpt_params *p)
{
    if (serve_transaction_add_recipient(t, address, place) != 0)
        return -1;
    if ((p->notify.n == 0 ||
         serve_transaction_add_field(t, SPOOL_F_NOTIFY, p->notify) == 0) &&
        (p->orcpt.n == 0 ||
         serve_transaction_add_field(t, SPOOL_F_ORCPT, p->orcpt) == 0))
        return 0;
    t->fault = BODY_NO_ROOM;
    return -1;
}

/* RFC 5321 4.5.1: he is of this host, also where it is none of its domains;
 * another rule than that for bare names counts. */
static bool is_postmaster_alone(const struct serve_session *s,
                                const struct smtp_address *a,
                                const struct smtp_address *to)
{
    return a->domain.n == 0 && span_is_nocase(a->local, "postmaster") &&
           span_eq(to->local, a->local) &&
           span_is(to->domain, s->env->conf->hostname);
}

/* Rewrite the recipient to *to, which points into room.  The rule of the
 * settings may lead a stranger's mail to another host, but for an address only
 * that he may send to; whether it exists does not count. */
static struct verdict rewrite_recipient(struct serve_session *s,
                                        const struct smtp_address *a,
                                        struct smtp_address *to,
                                        char room[SMTP_ADDRESS_MAX])
{
    enum smtp_address_error bad;

    *to = *a;
    if (!serve_rewrite_address(s->transaction->rewrite, s->env->conf,
                               CONF_REWRITE_RECIPIENT, a->text, room))
        return pass;
    bad = smtp_address_parse(to, span_of(room));
    if (bad != SMTP_ADDRESS_OK)
        return bad_address(REPLY_BAD_RCPT, bad);
    if (is_postmaster_alone(s, a, to))
        *to = *a;
    return s->trusted || place_of(s, a) != PLACE_REMOTE ? pass
                                                        : check_remote(s, a);
}

struct verdict serve_rcpt_check(struct serve_session *s)
{
    struct rcpt_params p = { .notify = { NULL, 0 } };
    struct smtp_address a, to;
    char room[SMTP_ADDRESS_MAX];
    struct verdict v = check_address(s, &a, &p);

    if (v.kind == VERDICT_PASS)
        v = policy_ask(&s->policy, POLICY_RCPT);
    if (v.kind == VERDICT_PASS)
        v = rewrite_recipient(s, &a, &to, room);
    if (v.kind != VERDICT_PASS)
        return v;
    enum serve_place place = place_of(s, &to);
    if (place != PLACE_REMOTE)
        v = check_local(s, &to);
    else if (span_eq(a.text, to.text))
        v = check_remote(s, &to);
    if (v.kind == VERDICT_PASS &&
        add_recipient(s->transaction, to.text, place, &p) != 0)
        return serve_reject(REPLY_NO_ROOM);
    return v;
}
