/* route_hops.c - the next hops of an address, and their hosts by the DNS. */
#include "cli/route.h"

#include "send/route_addresses.h"
#include "send/tls_policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* --- settings ------------------------------------------------------------- */

void route_setting(char out[ROUTE_SETTING_MAX], const struct conf *c,
                   const char *key, long element)
{
    char text[CONF_ENTRY_TEXT] = "";

    if (element >= 0)
        conf_entry(text, c, key, (size_t)element);
    snprintf(out, ROUTE_SETTING_MAX, "%s%s%s%s (%s)", key,
             element >= 0 ? " \"" : "", text, element >= 0 ? "\"" : "",
             conf_place(c, key));
}

void route_tls_setting(char out[ROUTE_SETTING_MAX], const struct conf *c,
                       const struct route *r)
{
    enum conf_tls level = (enum conf_tls)c->send.tls;

    if (r->kind == ROUTE_UNIX) {
        snprintf(out, ROUTE_SETTING_MAX, "a socket of this host");
        return;
    }
    if (r->tls_rule != NULL) {
        level = (enum conf_tls)r->tls_rule->level;
        route_setting(out, c, "send.tls_policy",
                      r->tls_rule - c->send.tls_policy.item);
    } else {
        route_setting(out, c, "send.tls", ROUTE_NO_ELEMENT);
    }
    size_t n = strlen(out);
    if (r->tls > level)
        snprintf(out + n, ROUTE_SETTING_MAX - n,
                 ", raised for the login, which is sent to a verified host "
                 "alone");
}

void route_login_setting(char out[ROUTE_SETTING_MAX], const struct conf *c,
                         const struct route *r)
{
    out[0] = '\0';
    if (r->login == ROUTE_RELAY_USER)
        snprintf(out, ROUTE_SETTING_MAX, "%s, by send.relay_user (%s)",
                 c->send.relay_user, conf_place(c, "send.relay_user"));
    else if (r->login >= ROUTE_LOGINS)
        snprintf(out, ROUTE_SETTING_MAX, "%s, by send.logins (%s)",
                 c->send.logins.item[r->login - ROUTE_LOGINS].user,
                 conf_place(c, "send.logins"));
}

static void route_decided(char out[ROUTE_SETTING_MAX], const struct conf *c,
                          const struct route *r)
{
    if (r->entry != NULL)
        route_setting(out, c, "send.routes", r->entry - c->send.routes.item);
    else if (r->relay > 0)
        route_setting(out, c, "send.relay_host", ROUTE_NO_ELEMENT);
    else if (r->kind == ROUTE_ADDRESS)
        snprintf(out, ROUTE_SETTING_MAX, "address literal (no setting)");
    else
        snprintf(out, ROUTE_SETTING_MAX, "MX (no setting)");
}

/* --- the DNS -------------------------------------------------------------- */

static void on_mx(void *ctx, const struct mx_result *mx)
{
    struct route_hop *h = ctx;

    h->mx = *mx;
    h->known = true;
    h->query = NULL;
}

/* What is known without the DNS, as the sender takes it. */
static bool use_addresses(struct route_hop *h, const struct dns_hosts *hosts)
{
    struct mx_host *host = &h->mx.host[0];

    host->naddr = route_addresses(&h->route, hosts, host->addr);
    if (host->naddr == 0)
        return false;
    h->mx.status = MX_OK;
    h->mx.nhost = 1;
    snprintf(host->name, sizeof host->name, "%s", h->route.host);
    h->known = true;
    return true;
}

static int wait_for_all(struct loop *l, const struct route_target *t,
                        struct err *e)
{
    for (size_t i = 0; i < t->nhops; i++)
        while (!t->hop[i].known)
            if (loop_turn(l, -1, e) < 0)
                return -1;
    return 0;
}

static int ask_all(struct dns *d, struct loop *l, struct route_target *t,
                   struct err *e)
{
    struct dns_hosts hosts = { .text = NULL };
    int rc = -1;

    if (dns_hosts_load(&hosts, DNS_HOSTS_FILE, e) != 0)
        return -1;
    for (size_t i = 0; i < t->nhops; i++) {
        struct route_hop *h = &t->hop[i];
        if (use_addresses(h, &hosts))
            continue;
        h->query =
            mx_ask(d, h->route.host, route_mx_want(h->route.kind), on_mx, h, e);
        if (h->query == NULL)
            goto out;
    }
    rc = wait_for_all(l, t, e);
out:
    for (size_t i = 0; i < t->nhops; i++)
        mx_cancel(t->hop[i].query);
    dns_hosts_free(&hosts);
    return rc;
}

/* As the sender would for its destination. */
static int rank_all(const struct conf *c, struct route_target *t, struct err *e)
{
    struct own_host self;

    if (own_host_load(&self, c, e) != 0)
        return -1;
    for (size_t i = 0; i < t->nhops; i++) {
        struct route_hop *h = &t->hop[i];
        const struct mx_ranks_rules rules = { &self, h->route.configured,
                                              h->route.port,
                                              route_is_reachable };
        h->n = mx_ranks_build(h->candidate, &h->mx, &rules, &h->why);
    }
    own_host_done(&self);
    return 0;
}

static int resolve(const struct conf *c, struct route_target *t, struct err *e)
{
    struct loop *l = NULL;
    struct dns *d = NULL;
    int rc = -1;

    if (loop_new(&l, NULL, e) == 0 && dns_open_conf(&d, l, c, e) == 0 &&
        ask_all(d, l, t, e) == 0)
        rc = rank_all(c, t, e);
    dns_close(&d);
    loop_free(&l);
    return rc;
}

/* --- all next hops -------------------------------------------------------- */

/* Of several the first that has a host. */
static void judge(struct route_target *t)
{
    const struct answer *why = NULL;
    char status[SMTP_STATUS_TEXT];

    for (size_t i = 0; i < t->nhops; i++) {
        if (t->hop[i].n > 0)
            return;
        if (why == NULL || why->outcome == OUTCOME_FAILED)
            why = &t->hop[i].why;
    }
    bool failed = why->outcome == OUTCOME_FAILED;
    t->decision = failed ? DECISION_REJECT : DECISION_WAIT;
    t->status = failed ? EX_NOHOST : EX_TEMPFAIL;
    smtp_status_text(status, &why->status);
    snprintf(t->why, sizeof t->why, "%s %s", status, why->text);
}

static bool has_login(const struct route_target *t, unsigned login)
{
    bool found = false;

    for (size_t i = 0; i < t->nhops; i++)
        found |= t->hop[i].route.login == login;
    return found;
}

int route_hops_of_settings(const struct conf *c, struct route_target *t,
                           struct err *e)
{
    size_t n = c->send.relay_host.n + c->send.logins.n;

    t->hop = calloc(n, sizeof *t->hop);
    if (t->hop == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for next hops");
    for (unsigned i = 0; i < c->send.relay_host.n; i++)
        route_relay(&t->hop[t->nhops++].route, c, i + 1,
                    (enum conf_tls)c->send.tls);
    for (unsigned i = 0; i < c->send.logins.n; i++)
        if (!has_login(t, ROUTE_LOGINS + i))
            route_login(&t->hop[t->nhops++].route, c, i);
    return resolve(c, t, e);
}

int route_hops_find(const struct route_report *r, struct route_target *t,
                    struct span domain, struct err *e)
{
    const struct conf *c = r->conf;
    struct route first;

    route_find(&first, c, domain, r->sender, false);
    route_decided(t->setting, c, &first);
    if (first.kind == ROUTE_BAD) {
        t->decision = DECISION_REJECT;
        t->status = EX_NOHOST;
        snprintf(t->why, sizeof t->why, "5.1.2 %s", first.why);
        return 0;
    }
    size_t n = first.relay > 0 ? c->send.relay_host.n : 1;
    t->hop = calloc(n, sizeof *t->hop);
    if (t->hop == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the hosts of %s",
                       t->address);
    t->nhops = n;
    t->hop[0].route = first;
    for (unsigned i = 1; i < n; i++) {
        route_relay(&t->hop[i].route, c, i + 1, first.mail_tls);
        if (t->hop[i].route.tls_rule == NULL)
            t->hop[i].route.tls_rule = first.mail_tls_rule;
    }
    if (resolve(c, t, e) != 0)
        return -1;
    judge(t);
    route_lanes_ask(c, t);
    return 0;
}
