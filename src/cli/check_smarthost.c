/* check_smarthost.c - do the hosts of send.relay_host answer, and take our
 * login? */
#include "cli/check_smtp.h"
#include "cli/route.h"

#include "base/digest_hmac.h"
#include "base/digest_key.h"
#include "send/login.h"
#include "send/tls_policy.h"
#include "smtp/sasl.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* --- the smarthost -------------------------------------------------------- */

struct relay {
    struct checking *k;
    const struct route_hop *hop;
    struct check_talk talk;
    struct tls_context *tls;
    char name[CONF_NAME_MAX + 16];
};

static void say_talk(struct relay *r, const char *what)
{
    const struct check_talk *t = &r->talk;

    if (t->over)
        check_say(r->k, CHECK_FAULT,
                  "see send.relay_host, and whether a firewall is in the way",
                  "%s: %s%s", r->name, what, t->why);
    else
        check_say(r->k, CHECK_FAULT, "ask its operator", "%s: %s%u %.300s",
                  r->name, what, (unsigned)t->reply.status.code, t->reply.text);
}

/* 0; -1: it was reported. */
static int secure(struct relay *r, enum conf_tls level)
{
    struct check_talk *t = &r->talk;
    struct err e;

    if (check_talk_hello(t) != 250) {
        say_talk(r, "EHLO: ");
        return -1;
    }
    if (level == CONF_TLS_NONE ||
        ((t->ext.bits & SMTP_EXT_STARTTLS) == 0 && level == CONF_TLS_MAY))
        return 0;
    if ((t->ext.bits & SMTP_EXT_STARTTLS) == 0) {
        check_say(r->k, CHECK_FAULT,
                  "use a port that has it (587), or set send.tls_policy",
                  "%s offers no STARTTLS, which our settings demand", r->name);
        return -1;
    }
    const char *ca = r->k->conf->send.tls_ca;
    if (tls_client_new(&r->tls, ca[0] != '\0' ? ca : NULL, &e) != 0) {
        check_say(r->k, CHECK_FAULT, "see send.tls_ca", "%s", e.text);
        return -1;
    }
    if (check_talk_say(t, "STARTTLS") != 220 ||
        check_talk_secure(t, r->tls, r->hop->route.host) != 0 ||
        check_talk_hello(t) != 250) {
        say_talk(r, "STARTTLS: ");
        return -1;
    }
    return 0;
}

static int verify(struct relay *r, enum conf_tls level)
{
    const struct tls_facts *f = conn_tls_facts(&r->talk.conn);
    const char *host = r->hop->route.host;

    if (level < CONF_TLS_VERIFY)
        return 0;
    if (f != NULL && !f->chain_good)
        check_say(r->k, CHECK_FAULT,
                  "set send.tls_ca to the authority of its certificate",
                  "%s has a certificate that we do not trust: %s", r->name,
                  f->why);
    else if (f == NULL || !conn_tls_names(&r->talk.conn, host))
        check_say(r->k, CHECK_FAULT,
                  "put the name of its certificate in send.relay_host",
                  "the certificate of %s is not for %s", r->name, host);
    else
        return 0;
    return -1;
}

/* Responses until the host has decided: its code, or -1. */
static int exchange(struct check_talk *t, struct sasl *s, struct err *e)
{
    char memory[SASL_LINE_MAX + 64];
    struct buf line = BUF_ON(memory);
    int code;

    buf_addf(&line, "AUTH %s", sasl_name(s->mechanism));
    if (sasl_speaks_first(s)) {
        buf_addc(&line, ' ');
        if (sasl_respond(s, SPAN_LIT(""), &line, e) != 0)
            return -1;
    }
    while ((code = check_talk_say(t, line.p)) == 334) {
        line.n = 0;
        if (sasl_respond(s, span_of(t->reply.text), &line, e) != 0) {
            code = -1;
            break;
        }
    }
    digest_wipe(memory, sizeof memory);
    if (code == 235 && sasl_succeed(s, e) != 0)
        return -1;
    if (code < 0 && t->over)
        err_set(e, ERR_TEMP, 0, "%s", t->why);
    return code;
}

static void log_in(struct relay *r, const struct session_login *l)
{
    struct check_talk *t = &r->talk;
    unsigned char octets[SASL_NONCE * 3 / 4];
    struct sasl s;
    struct err e = { ERR_NONE, 0, "" };
    enum sasl_mechanism m = sasl_choose(span_of(t->ext.auth), l->mechanisms);

    if (m == SASL_NONE) {
        check_say(r->k, CHECK_FAULT, "see send.relay_auth",
                  "%s offers none of our mechanisms of AUTH, but \"%s\"",
                  r->name, t->ext.auth);
        return;
    }
    memset(&s, 0, sizeof s);
    if (digest_random(octets, sizeof octets, &e) != 0) {
        check_say(r->k, CHECK_WARNING, "try again", "%s", e.text);
        return;
    }
    sasl_begin(&s, m, &l->sasl, octets);
    int code = exchange(t, &s, &e);
    sasl_end(&s);
    if (code == 235)
        check_say(r->k, CHECK_OK, NULL, "%s takes our login as %s (%s)",
                  r->name, l->sasl.user.p, sasl_name(m));
    else if (code > 0)
        check_say(r->k, CHECK_FAULT,
                  "see send.relay_user and send.relay_password (or "
                  "send.logins)",
                  "%s refuses our login as %s: %d %.300s", r->name,
                  l->sasl.user.p, code, t->reply.text);
    else
        check_say(r->k, CHECK_FAULT, "see the log of that host",
                  "the login at %s as %s fails: %s", r->name, l->sasl.user.p,
                  e.text);
}

static void try_login(struct relay *r)
{
    struct logins *all = NULL;
    struct session_login *l = NULL;
    const struct route *to = &r->hop->route;
    struct err e;

    if (logins_open(&all, r->k->conf, &e) != 0) {
        check_say(r->k, CHECK_FAULT, "change that setting", "%s", e.text);
        return;
    }
    l = session_login_new(all, to->login, to->host, to->port);
    if (l != NULL)
        log_in(r, l);
    else
        check_say(r->k, CHECK_OK, NULL,
                  "%s answers; the login, whose token a command prints, was "
                  "not tried",
                  r->name);
    session_login_free(&l);
    logins_close(&all);
}

static void talk(struct relay *r)
{
    enum conf_tls level = r->hop->route.tls;
    const struct tls_facts *f;

    if (check_talk_begin(&r->talk, r->k, &r->hop->candidate[0].addr) != 0) {
        r->talk.over = true;
        say_talk(r, "");
        return;
    }
    if (secure(r, level) != 0 || verify(r, level) != 0)
        return;
    f = conn_tls_facts(&r->talk.conn);
    if (r->hop->route.login != ROUTE_NO_LOGIN)
        try_login(r);
    else
        check_say(r->k, CHECK_OK, NULL, "%s answers (tls=%s)", r->name,
                  f != NULL ? f->version : "none");
}

static void check_hop(struct checking *k, const struct route_hop *h)
{
    struct relay *r = calloc(1, sizeof *r);

    if (r == NULL)
        return;
    r->k = k;
    r->hop = h;
    snprintf(r->name, sizeof r->name, "%s:%u", h->route.host,
             (unsigned)h->route.port);
    if (h->n == 0) {
        check_say(k, CHECK_FAULT, "see send.relay_host", "%s: %s", r->name,
                  h->why.text);
    } else {
        talk(r);
        check_talk_end(&r->talk);
        tls_context_free(&r->tls);
    }
    free(r);
}

void check_smarthost(struct checking *k)
{
    struct route_target t = { .nhops = 0 };
    struct err e;

    if (!check_is_relayed(k))
        return;
    if (route_hops_of_relays(k->conf, &t, &e) != 0)
        check_say(k, CHECK_WARNING, "try again", "%s", e.text);
    else
        for (size_t i = 0; i < t.nhops; i++)
            check_hop(k, &t.hop[i]);
    free(t.hop);
}
