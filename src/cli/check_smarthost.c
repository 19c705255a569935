/* check_smarthost.c - do the next hops of send.relay_host and send.logins
 * answer, with the TLS that our settings demand, and take our login? */
#include "cli/check_smtp.h"
#include "cli/route.h"

#include "base/digest_hmac.h"
#include "base/digest_key.h"
#include "send/login.h"
#include "send/tls_policy.h"
#include "smtp/sasl.h"

#include <stdlib.h>
#include <string.h>

struct relay {
    struct checking *k;
    struct logins *logins; /* NULL: there are none, or that was reported */
    const struct route_hop *hop;
    const char *setting;           /* that names it */
    const struct mx_candidate *at; /* the host that greets */
    struct check_talk talk;
    struct tls_context *tls;
    char name[CONF_NAME_MAX + 16];
};

/* --- the way there -------------------------------------------------------- */

/* What the host replied, or why it did not. */
static void say_talk(struct relay *r, enum check_state s, const char *what,
                     const char *fix)
{
    const struct check_talk *t = &r->talk;

    if (t->over)
        check_say(r->k, s, fix, "%s: %s%s", r->name, what, t->why);
    else
        check_say(r->k, s, fix, "%s: %s%u %.300s", r->name, what,
                  (unsigned)t->reply.status.code, t->reply.text);
}

static void say_unreached(struct relay *r)
{
    char fix[128];

    snprintf(fix, sizeof fix, "see %s, and whether a firewall is in the way",
             r->setting);
    say_talk(r, CHECK_FAULT, "", fix);
}

static int load_authorities(struct relay *r)
{
    const char *ca = r->k->conf->send.tls_ca;
    struct err e;

    if (tls_client_new(&r->tls, &e) != 0) {
        check_say(r->k, CHECK_WARNING, "try again", "%s", e.text);
        return -1;
    }
    if (tls_client_trust(r->tls, ca[0] != '\0' ? ca : NULL, &e) == 0 ||
        r->hop->route.tls < CONF_TLS_VERIFY)
        return 0;
    check_say_err(r->k,
                  "name a PEM file of authorities in send.tls_ca, or leave it "
                  "and SSL_CERT_FILE out for those of the system",
                  &e);
    return -1;
}

static struct check_secure secure_of(const struct relay *r)
{
    return (struct check_secure){ r->tls, r->at->name,
                                  r->hop->route.tls <= CONF_TLS_MAY };
}

/* As the sender: one address after the other until one greets. */
static bool reach(struct relay *r)
{
    bool first = r->hop->route.port == TLS_FIRST_PORT;
    char at[ADDR_PORT_TEXT];

    if (first && load_authorities(r) != 0)
        return false;
    for (size_t i = 0; i < r->hop->n; i++) {
        r->at = &r->hop->candidate[i];
        const struct check_secure how = secure_of(r);
        if (check_talk_begin(&r->talk, r->k, &r->at->addr,
                             first ? &how : NULL) == 0)
            return true;
        if (i + 1 == r->hop->n)
            break;
        addr_port_text(at, &r->at->addr);
        check_say(r->k, CHECK_WARNING,
                  "take it out of the DNS, or have its operator mend it",
                  "%s: %s (%s): %s", r->name, r->at->name, at, r->talk.why);
        check_talk_end(&r->talk);
    }
    say_unreached(r);
    return false;
}

/* --- TLS ------------------------------------------------------------------ */

/* Mail that takes clear text goes in clear where TLS does not work. */
static int say_no_tls(struct relay *r)
{
    bool may = r->hop->route.tls == CONF_TLS_MAY;

    say_talk(r, may ? CHECK_WARNING : CHECK_FAULT,
             may ? "TLS does not work, and mail goes in clear: STARTTLS: "
                 : "STARTTLS: ",
             "ask its operator: it must speak TLS 1.2 or newer");
    return -1;
}

/* 0; -1: it was reported. */
static int secure(struct relay *r)
{
    struct check_talk *t = &r->talk;
    enum conf_tls level = r->hop->route.tls;

    if (check_talk_hello(t) != 250) {
        say_talk(r, CHECK_FAULT, "EHLO: ", "ask its operator");
        return -1;
    }
    bool offered = (t->ext.bits & SMTP_EXT_STARTTLS) != 0;
    if (level == CONF_TLS_NONE || conn_is_tls(&t->conn) ||
        (!offered && level == CONF_TLS_MAY))
        return 0;
    if (!offered) {
        check_say(r->k, CHECK_FAULT,
                  "use a port that has it (587), or set send.tls_policy",
                  "%s offers no STARTTLS, which our settings demand", r->name);
        return -1;
    }
    if (load_authorities(r) != 0)
        return -1;
    const struct check_secure how = secure_of(r);
    if (check_talk_say(t, "STARTTLS") != 220 ||
        check_talk_secure(t, &how) != 0 || check_talk_hello(t) != 250)
        return say_no_tls(r);
    return 0;
}

/* As the sender demands it of a session with a login, and of one without. */
static bool is_named(const struct relay *r)
{
    const struct conn *c = &r->talk.conn;

    return r->hop->route.login != ROUTE_NO_LOGIN
               ? login_is_for(c, r->hop->route.host, r->at->name)
               : conn_tls_names(c, r->at->name);
}

/* What to do about a chain that is not good, by OpenSSL's reason. */
static const char *chain_fix(const char *why)
{
    if (strstr(why, "expired") != NULL)
        return "ask its operator to renew it, or set the clock of this host";
    if (strstr(why, "not yet valid") != NULL)
        return "set the clock of this host";
    return "set send.tls_ca to the authority of its certificate";
}

static void say_unnamed(struct relay *r)
{
    char fix[200 + CONF_NAME_MAX];

    if (r->hop->route.kind == ROUTE_ADDRESS)
        snprintf(fix, sizeof fix,
                 "put its name in %s, or have any certificate do: "
                 "send.tls_policy = [ \"[%s]:%u=encrypt\" ]",
                 r->setting, r->hop->route.host, (unsigned)r->hop->route.port);
    else
        snprintf(fix, sizeof fix, "put a name of its certificate in %s",
                 r->setting);
    check_say(r->k, CHECK_FAULT, fix, "the certificate of %s is not for %s",
              r->name, r->hop->route.host);
}

static int verify(struct relay *r)
{
    const struct tls_facts *f = conn_tls_facts(&r->talk.conn);

    if (r->hop->route.tls < CONF_TLS_VERIFY)
        return 0;
    if (!f->chain_good)
        check_say(r->k, CHECK_FAULT, chain_fix(f->why),
                  "%s has a certificate that we do not trust: %s", r->name,
                  f->why);
    else if (!is_named(r))
        say_unnamed(r);
    else
        return 0;
    return -1;
}

static const char *tls_text(char out[64], const struct relay *r)
{
    const struct tls_facts *f = conn_tls_facts(&r->talk.conn);

    if (f == NULL)
        snprintf(out, 64, "tls=none");
    else
        snprintf(out, 64, "tls=%s verified=%s", f->version,
                 f->chain_good && is_named(r) ? "yes" : "no");
    return out;
}

/* --- the login ------------------------------------------------------------ */

static void begin_line(struct buf *line)
{
    line->n = 0;
    line->p[0] = '\0';
}

/* With the first response, where it may be there and fits (RFC 4954 4). */
static int add_command(struct buf *line, struct sasl *s, struct err *e)
{
    enum { COMMAND_MAX = 512 - 2 };
    struct sasl before = *s;
    int rc = 0;

    buf_addf(line, "AUTH %s", sasl_name(s->mechanism));
    if (sasl_speaks_first(s)) {
        buf_addc(line, ' ');
        rc = sasl_respond(s, SPAN_LIT(""), line, e);
    }
    if (rc == 0 && line->n > COMMAND_MAX) {
        begin_line(line);
        buf_addf(line, "AUTH %s", sasl_name(s->mechanism));
        *s = before;
    }
    sasl_end(&before);
    return rc;
}

/* Responses until the host has decided: its code, or -1. */
static int exchange(struct check_talk *t, struct sasl *s, struct err *e)
{
    char memory[SASL_LINE_MAX + 64];
    struct buf line = BUF_ON(memory);
    int code = 0, rc = add_command(&line, s, e);

    while (rc == 0 && (code = check_talk_say(t, line.p)) == 334) {
        begin_line(&line);
        rc = sasl_respond(s, span_of(t->reply.text), &line, e);
        while (rc > 0)
            rc = sasl_go_on(s, &line, e);
    }
    digest_wipe(memory, sizeof memory);
    if (rc != 0 && code == 334)
        (void)check_talk_say(t, "*");
    if (rc == 0 && code == 235)
        rc = sasl_succeed(s, e);
    if (rc == 0 && code < 0)
        rc = err_set(e, ERR_TEMP, 0, "%s", t->why);
    return rc == 0 ? code : -1;
}

static const char *secret_of(const struct relay *r)
{
    const struct conf *c = r->k->conf;

    return r->hop->route.login >= ROUTE_LOGINS ? "see send.logins"
           : c->send.relay_token.source != CONF_TOKEN_NONE
               ? "see send.relay_user and send.relay_token"
               : "see send.relay_user and send.relay_password";
}

static void say_login(struct relay *r, const struct sasl *s, int code)
{
    const char *user = s->login->user.p, *text = r->talk.reply.text;
    char tls[64];

    if (code == 235)
        check_say(r->k, CHECK_OK, NULL, "%s takes our login as %s (%s, %s)",
                  r->name, user, sasl_name(s->mechanism), tls_text(tls, r));
    else if (code < 500) /* RFC 4954 6: it cannot tell for now */
        check_say(r->k, CHECK_WARNING, "try again, or ask its operator",
                  "%s does not decide on our login as %s: %d %.300s", r->name,
                  user, code, text);
    else
        check_say(r->k, CHECK_FAULT, secret_of(r),
                  "%s refuses our login as %s: %d %.300s%s%.200s", r->name,
                  user, code, text, s->denial[0] != '\0' ? " " : "", s->denial);
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
    if (code >= 0)
        say_login(r, &s, code);
    else
        check_say(r->k, CHECK_FAULT, "see the log of that host",
                  "the login at %s as %s fails: %s", r->name, l->sasl.user.p,
                  e.text);
    sasl_end(&s);
}

static bool is_of_command(const struct relay *r)
{
    return r->hop->route.login == ROUTE_RELAY_USER &&
           r->k->conf->send.relay_token.source == CONF_TOKEN_COMMAND;
}

static void try_login(struct relay *r)
{
    const struct route *to = &r->hop->route;
    struct session_login *l = NULL;

    if (r->logins == NULL)
        check_say(r->k, CHECK_WARNING, "mend what is reported above",
                  "%s answers; our login was not tried", r->name);
    else if (is_of_command(r) && check_fetch_token(r->k, r->logins) != 0)
        return;
    else if ((l = session_login_new(r->logins, to->login, to->host,
                                    to->port)) == NULL)
        check_say(r->k, CHECK_WARNING, "try again", "no memory for a login");
    else
        log_in(r, l);
    session_login_free(&l);
}

/* --- a next hop ----------------------------------------------------------- */

static void talk(struct relay *r)
{
    char tls[64];

    if (!reach(r) || secure(r) != 0 || verify(r) != 0)
        return;
    if (r->hop->route.login != ROUTE_NO_LOGIN)
        try_login(r);
    else
        check_say(r->k, CHECK_OK, NULL, "%s answers (%s)", r->name,
                  tls_text(tls, r));
}

static void check_hop(struct checking *k, struct logins *logins,
                      const struct route_hop *h)
{
    struct relay *r = calloc(1, sizeof *r);
    char fix[32];

    if (r == NULL)
        return;
    r->k = k;
    r->logins = logins;
    r->hop = h;
    r->setting = h->route.relay > 0 ? "send.relay_host" : "send.logins";
    snprintf(r->name, sizeof r->name, "%s:%u", h->route.host,
             (unsigned)h->route.port);
    snprintf(fix, sizeof fix, "see %s", r->setting);
    if (h->n == 0) {
        check_say(k, CHECK_FAULT, fix, "%s: %s", r->name, h->why.text);
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
    struct logins *logins = NULL;
    struct err e;

    if (!check_is_relayed(k) && k->conf->send.logins.n == 0)
        return;
    if (logins_open(&logins, k->conf, &e) != 0)
        check_say_err(k, "change that setting", &e);
    if (route_hops_of_settings(k->conf, &t, &e) != 0)
        check_say(k, CHECK_WARNING, "see 'resolver'", "%s", e.text);
    else
        for (size_t i = 0; i < t.nhops; i++)
            check_hop(k, logins, &t.hop[i]);
    free(t.hop);
    logins_close(&logins);
}
