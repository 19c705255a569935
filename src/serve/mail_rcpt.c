/* mail_rcpt.c - MAIL and RCPT: who may send what to whom. */
#include "log/log.h"
#include "serve/reply.h"
#include "serve/session.h"
#include "serve/session_actions.h"
#include "serve/worker.h"
#include "smtp/address.h"

#include <stdlib.h>
#include <string.h>

struct args {
    struct span path;
    struct smtp_param param[SMTP_PARAMS_MAX];
    size_t nparam;
};

static bool take_args(struct serve_session *s, const char *keyword,
                      struct args *a)
{
    a->nparam = SMTP_PARAMS_MAX;
    switch (smtp_path_args(s->worker->command.args, keyword, &a->path, a->param,
                           &a->nparam)) {
    case SMTP_SYNTAX_OK: return true;
    case SMTP_SYNTAX_BARE:
        if (s->trusted)
            return true;
        /* fallthrough */
    case SMTP_SYNTAX_BAD:
        serve_refuse(s, 501, "5.5.4", keyword,
                     *keyword == 'F' ? "Syntax: MAIL FROM:<address>"
                                     : "Syntax: RCPT TO:<address>");
        break;
    case SMTP_SYNTAX_PARAMS:
        serve_refuse(s, 501, "5.5.4", keyword, "Malformed parameter");
        break;
    case SMTP_SYNTAX_TWICE:
        serve_refuse(s, 501, "5.5.4", keyword, "Parameter given twice");
        break;
    }
    return false;
}

/* --- MAIL ------------------------------------------------------------ */

struct mail_params {
    unsigned long long size;
    unsigned flags;
};

static bool take_size(struct serve_session *s, struct span v,
                      struct mail_params *p)
{
    long long max = s->worker->conf->serve.max_message_size;

    if (v.p == NULL || v.n > 20 || !span_u64(v, ~0ull, &p->size)) {
        serve_refuse(s, 501, "5.5.4", "SIZE", "SIZE takes a number");
        return false;
    }
    if (max > 0 && p->size > (unsigned long long)max) { /* RFC 1870 6.1 */
        serve_refuse(s, 552, "5.3.4", "SIZE", "Message too big");
        return false;
    }
    return true;
}

static bool take_mail_param(struct serve_session *s, const struct smtp_param *q,
                            struct mail_params *p)
{
    if (span_is_nocase(q->key, "SIZE"))
        return take_size(s, q->value, p);
    if (span_is_nocase(q->key, "BODY") &&
        (span_is_nocase(q->value, "7BIT") ||
         span_is_nocase(q->value, "8BITMIME"))) {
        if (span_is_nocase(q->value, "8BITMIME"))
            p->flags |= SPOOL_8BIT;
        return true;
    }
    if (span_is_nocase(q->key, "SMTPUTF8") && q->value.p == NULL) {
        p->flags |= SPOOL_UTF8;
        return true;
    }
    char key[64] = "";
    span_copy(key, sizeof key, q->key);
    serve_refuse(s, span_is_nocase(q->key, "BODY") ? 501 : 555, "5.5.4", key,
                 "Parameter not supported");
    return false;
}

static bool sender_is_fine(struct serve_session *s, struct span path,
                           unsigned flags, struct smtp_address *a)
{
    enum smtp_address_error bad = smtp_address_parse(a, path);

    if (bad == SMTP_ADDRESS_EMPTY) {
        a->text = span_of("");
        return true;
    }
    if (bad != SMTP_ADDRESS_OK)
        serve_refuse(s, 501, "5.1.7", "MAIL", smtp_address_why(bad));
    else if (a->is_utf8 && !(flags & SPOOL_UTF8))
        serve_refuse(s, 553, "5.6.7", "MAIL", "That address needs SMTPUTF8");
    else
        return true;
    return false;
}

static bool has_room(struct serve_session *s, uint64_t size)
{
    struct err e;

    if (spool_writer_has_room(serve_commit_writer(s->worker->commit), size,
                              &e) == 0)
        return true;
    log_err(LOG_WARN, "serve.full", &e);
    serve_refuse(s, 452, "4.3.1", "MAIL", "Insufficient storage, try later");
    return false;
}

static bool take_sender(struct serve_session *s)
{
    struct mail_params p = { 0, 0 };
    struct smtp_address a;
    struct args args;

    if (!take_args(s, "FROM:", &args))
        return false;
    for (size_t i = 0; i < args.nparam; i++)
        if (!take_mail_param(s, &args.param[i], &p))
            return false;
    if (!sender_is_fine(s, args.path, p.flags, &a) || !has_room(s, p.size))
        return false;
    s->transaction = serve_transaction_new(
        s->worker->env.blocks, serve_commit_writer(s->worker->commit), a.text,
        &s->worker->ntransactions);
    if (s->transaction == NULL) {
        serve_refuse(s, 452, "4.3.1", "MAIL", "Out of memory, try later");
        return false;
    }
    memcpy(s->transaction->sid, s->sid, sizeof s->sid);
    s->transaction->flags = p.flags;
    s->transaction->max_size =
        (uint64_t)s->worker->conf->serve.max_message_size;
    s->transaction->reserve = 2 * (size_t)s->worker->conf->serve.max_clients;
    s->rcpt_refused = false;
    return true;
}

/* Whoever guesses addresses, or fills the log, is sent away in the end. */
static unsigned char judge(const struct serve_session *s, bool fine)
{
    if (fine)
        return E_ACCEPTED;
    return serve_refused_enough(s) ? E_TOO_MANY_ERRORS : FSM_QUIET;
}

unsigned char check_sender(void *ctx)
{
    struct serve_session *s = ctx;

    return judge(s, take_sender(s));
}

unsigned char say_sender_ok(void *ctx)
{
    serve_reply(ctx, 250, "2.1.0", "Ok");
    return FSM_QUIET;
}

/* --- RCPT ------------------------------------------------------------ */

struct expansion {
    struct serve_session *s;
    struct span address; /* as the client named it */
    unsigned targets;
};

static int add_target(void *ctx, const struct local_target *t)
{
    struct expansion *x = ctx;
    struct serve_transaction *d = x->s->transaction;
    long long max = x->s->worker->conf->serve.max_recipients;

    if (d->nremote + d->nlocal >= 4 * (unsigned)max)
        return -1; /* aliases multiply; memory must not */
    x->targets++;
    return t->kind == LOCAL_MAILBOX
               ? serve_transaction_add_local(d, t->name, x->address)
               : serve_transaction_add_remote(d, span_of(t->name));
}

static bool take_local(struct serve_session *s, const struct smtp_address *a)
{
    struct expansion x = { s, a->text, 0 };
    char local[SMTP_ADDRESS_MAX];

    if (!smtp_local_unquote(local, sizeof local, a->local)) {
        serve_refuse(s, 550, "5.1.1", "RCPT", "No such user");
        return false;
    }
    enum local_verdict v = local_resolve(s->worker->local, span_of(local),
                                         a->domain, add_target, &x);
    /* Half an expansion must not be mailed: the dot will be refused. */
    if (v != LOCAL_OK && x.targets > 0)
        s->transaction->fault = BODY_NO_ROOM;
    switch (v) {
    case LOCAL_OK: return true;
    case LOCAL_UNKNOWN:
        serve_refuse(s, 550, "5.1.1", local, "No such user");
        break;
    case LOCAL_LOOP: serve_refuse(s, 554, "5.4.6", local, "Alias loop"); break;
    case LOCAL_TEMP:
        serve_refuse(s, 451, "4.3.0", local, "Look-up failed, try later");
        break;
    case LOCAL_STOPPED:
        serve_refuse(s, 452, "4.5.3", local, "Too many recipients");
        break;
    }
    return false;
}

static bool take_remote(struct serve_session *s, const struct smtp_address *a)
{
    char text[SMTP_ADDRESS_MAX] = "";

    span_copy(text, sizeof text, a->text);
    if (!s->trusted) {
        serve_refuse(s, 550, "5.7.1", text, "Relaying denied");
        return false;
    }
    if (serve_transaction_add_remote(s->transaction, a->text) == 0)
        return true;
    serve_refuse(s, 452, "4.3.1", text, "Out of memory, try later");
    return false;
}

/* RFC 7372: 5.7.25 when reverse DNS validation fails. */
static bool rdns_is_fine(struct serve_session *s)
{
    if (s->trusted || s->worker->conf->serve.rdns != CONF_RDNS_REQUIRE ||
        s->rdns == FCRDNS_OK)
        return true;
    if (s->rdns == FCRDNS_TEMP)
        serve_refuse(s, 450, "4.7.25", "RCPT",
                     "Your address's name cannot be looked up now, try later");
    else
        serve_refuse(s, 550, "5.7.25", "RCPT",
                     "Your address has no name that leads back to it");
    return false;
}

static bool rcpt_is_fine(struct serve_session *s, struct span path,
                         struct smtp_address *a)
{
    enum smtp_address_error bad = smtp_address_parse(a, path);
    bool bare = bad == SMTP_ADDRESS_NO_DOMAIN;

    /* RFC 5321 4.5.1: <postmaster> needs no domain. */
    if (bare && span_is_nocase(a->local, "postmaster"))
        return true;
    if (bad != SMTP_ADDRESS_OK)
        serve_refuse(s, 501, "5.1.3", "RCPT", smtp_address_why(bad));
    else if (a->is_utf8 && !(s->transaction->flags & SPOOL_UTF8))
        serve_refuse(s, 553, "5.6.7", "RCPT", "That address needs SMTPUTF8");
    else if (s->transaction->nrcpt >= s->worker->conf->serve.max_recipients)
        serve_refuse(s, 452, "4.5.3", "RCPT", "Too many recipients");
    else
        return rdns_is_fine(s);
    return false;
}

static bool is_ours(struct serve_session *s, const struct smtp_address *a)
{
    struct addr literal, own = { .u.sa.sa_family = AF_UNSPEC };
    socklen_t len = sizeof own.u;
    struct span ip = a->domain;

    if (!a->is_literal)
        return local_has_domain(s->worker->local, a->domain);
    ip.p++;
    ip.n -= 2;
    if (span_starts_nocase(ip, "IPv6:")) {
        ip.p += 5;
        ip.n -= 5;
    }
    return addr_parse_ip(&literal, ip, 0) &&
           getsockname(s->conn.io.fd, &own.u.sa, &len) == 0 &&
           (addr_from_sockaddr(&own, &own.u.sa),
            addr_same_host(&literal, &own));
}

static bool params_are_known(struct serve_session *s, const struct args *args)
{
    if (args->nparam == 0)
        return true;
    serve_refuse(s, 555, "5.5.4", "RCPT", "Parameter not supported");
    return false;
}

unsigned char check_rcpt(void *ctx)
{
    struct serve_session *s = ctx;
    struct smtp_address a;
    struct args args;

    bool fine = take_args(s, "TO:", &args) && params_are_known(s, &args) &&
                rcpt_is_fine(s, args.path, &a) &&
                (is_ours(s, &a) ? take_local(s, &a) : take_remote(s, &a));
    if (!fine) {
        s->rcpt_refused = true;
        return judge(s, false);
    }
    s->transaction->nrcpt++;
    if (!span_copy(s->transaction->only_rcpt, sizeof s->transaction->only_rcpt,
                   a.text))
        s->transaction->only_rcpt[0] = '\0';
    return E_ACCEPTED;
}

unsigned char say_rcpt_ok(void *ctx)
{
    serve_reply(ctx, 250, "2.1.5", "Ok");
    return FSM_QUIET;
}
