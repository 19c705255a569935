#include "send/route.h"

#include "base/addr.h"
#include "base/host_port.h"
#include "recipient/domain.h"
#include "send/tls_policy.h"
#include "smtp/address.h"

#include <stdio.h>
#include <string.h>

static bool set_host(struct route *r, struct span host)
{
    if (!span_copy(r->host, sizeof r->host, host))
        return false;
    ascii_lower_str(r->host);
    return host.n > 0;
}

/* RFC 6761 6.3: this name and those below it are loopback; the DNS is not
 * asked. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host), k = sizeof name - 1;

    return n >= k && span_is_nocase(span_of(host + n - k), name) &&
           (n == k || host[n - k - 1] == '.');
}

static void by_hop(struct route *r, const struct host_port *to)
{
    r->kind = to->numeric              ? ROUTE_ADDRESS
              : is_localhost(to->host) ? ROUTE_LOOPBACK
              : to->bracketed          ? ROUTE_HOST
                                       : ROUTE_MX;
    if (to->port != 0)
        r->port = to->port;
    set_host(r, span_of(to->host));
}

/* By LMTP: to a host, or to a socket of this one; never by its MX. */
static void by_lmtp(struct route *r, const struct conf_route *entry)
{
    r->lmtp = true;
    if (entry->path[0] == '\0') {
        by_hop(r, &entry->to);
        if (r->kind == ROUTE_MX)
            r->kind = ROUTE_HOST;
        return;
    }
    r->kind = ROUTE_UNIX;
    r->port = 0;
    r->path = entry->path;
    snprintf(r->host, sizeof r->host, "%s", entry->path);
}

/* The length of an entry's left side if it matches, else 0. */
static size_t fit(const struct conf_route *entry, struct span domain)
{
    size_t n = strlen(entry->domain);

    if (!entry->below)
        return span_is_nocase(domain, entry->domain) ? n + 1 : 0;
    if (domain.n <= n + 1 || domain.p[domain.n - n - 1] != '.')
        return 0;
    struct span end = { domain.p + domain.n - n, n };
    return span_is_nocase(end, entry->domain) ? n + 1 : 0;
}

static const struct conf_route *longest_route(const struct conf_routes *routes,
                                              struct span domain, bool sender)
{
    const struct conf_route *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < routes->n; i++) {
        size_t n = fit(&routes->item[i], domain);
        if (routes->item[i].sender == sender && n > most) {
            most = n;
            best = &routes->item[i];
        }
    }
    return best;
}

static void bad(struct route *r, const char *why)
{
    r->kind = ROUTE_BAD;
    r->why = why;
    r->host[0] = '\0';
}

static void by_literal(struct route *r, struct span domain)
{
    struct host_port h;

    if (host_port_parse(&h, domain, NULL) != 0 || !h.numeric || h.port != 0)
        bad(r, "not an address of a host");
    else
        by_hop(r, &h);
}

static bool is_hop(const struct conf *c, const struct host_port *a,
                   const struct host_port *b)
{
    uint16_t usual = (uint16_t)c->send.port;

    return strcmp(a->host, b->host) == 0 && a->bracketed == b->bracketed &&
           (a->port != 0 ? a->port : usual) == (b->port != 0 ? b->port : usual);
}

/* send.logins go before send.relay_user: they name the host. */
static unsigned char login_at(const struct conf *c, const struct host_port *hop,
                              bool relay)
{
    const struct conf_logins *l = &c->send.logins;

    for (size_t i = 0; i < l->n; i++)
        if (is_hop(c, &l->item[i].to, hop))
            return (unsigned char)(ROUTE_LOGINS + i);
    return relay && c->send.relay_user[0] != '\0' ? ROUTE_RELAY_USER
                                                  : ROUTE_NO_LOGIN;
}

static void use_hop(struct route *r, const struct conf *c,
                    const struct host_port *hop)
{
    r->login = login_at(c, hop, r->relay > 0);
    by_hop(r, hop);
}

/* By the setting that names the next hop; false: there is none. */
static bool by_setting(struct route *r, const struct conf *c,
                       struct span domain, struct span sender)
{
    const struct conf_route *entry =
        longest_route(&c->send.routes, domain, false);

    if (entry == NULL && sender.n > 0)
        entry = longest_route(&c->send.routes, sender, true);
    if (entry == NULL && c->send.relay_host.n == 0)
        return false;
    r->configured = true;
    r->entry = entry;
    r->relay = entry == NULL;
    if (entry != NULL && entry->lmtp)
        by_lmtp(r, entry);
    else
        use_hop(r, c, entry != NULL ? &entry->to : c->send.relay_host.item);
    return true;
}

static void find(struct route *r, const struct conf *c, struct span domain,
                 struct span sender, bool is_local)
{
    *r = (struct route){ .kind = ROUTE_MX, .port = (uint16_t)c->send.port };
    if (is_local)
        r->kind = ROUTE_LOCAL;
    else if (by_setting(r, c, domain, sender))
        return;
    else if (domain.n > 0 && domain.p[0] == '[')
        by_literal(r, domain);
    else if (!smtp_domain_valid(domain) || !set_host(r, domain))
        bad(r, "not a domain name that DNS can hold");
}

/* A login is for a host that is known to be the one, unless its rule says that
 * encryption will do, or the settings have no TLS at all. */
static enum conf_tls with_login(const struct route *r, const struct conf *c)
{
    enum conf_tls rule =
        tls_policy_level(tls_policy_of_hop(c, r->host, r->port), CONF_TLS_NONE);
    enum conf_tls least = rule >= CONF_TLS_ENCRYPT       ? rule
                          : c->send.tls == CONF_TLS_NONE ? CONF_TLS_NONE
                                                         : CONF_TLS_VERIFY;

    return r->tls > least ? r->tls : least;
}

/* The rule for the host that the next hop names, or the level of the mail. */
static void set_tls(struct route *r, const struct conf *c, enum conf_tls mail)
{
    bool named = r->configured || r->kind == ROUTE_ADDRESS;
    const struct conf_tls_rule *rule =
        named ? tls_policy_of_hop(c, r->host, r->port) : NULL;

    if (rule != NULL)
        r->tls_rule = rule;
    r->tls =
        r->kind == ROUTE_UNIX ? CONF_TLS_NONE : tls_policy_level(rule, mail);
    r->mail_tls = r->relay > 0 ? mail : CONF_TLS_NONE;
    if (r->login != ROUTE_NO_LOGIN)
        r->tls = with_login(r, c);
}

/* Both spellings of a domain, in U-labels and in A-labels, are one route. */
void route_find(struct route *r, const struct conf *c, struct span domain,
                struct span sender, bool is_local)
{
    char ascii[DOMAIN_MAX], from[DOMAIN_MAX];

    domain = domain_ascii(ascii, domain);
    if (sender.n > 0)
        sender = domain_ascii(from, sender);
    find(r, c, domain, sender, is_local);
    r->tls_rule = r->mail_tls_rule = tls_policy_of_domain(c, domain);
    set_tls(r, c, tls_policy_level(r->tls_rule, (enum conf_tls)c->send.tls));
}

void route_relay(struct route *r, const struct conf *c, unsigned relay,
                 enum conf_tls mail_tls)
{
    *r = (struct route){ .kind = ROUTE_MX,
                         .port = (uint16_t)c->send.port,
                         .configured = true,
                         .relay = (unsigned char)relay };
    use_hop(r, c, &c->send.relay_host.item[relay - 1]);
    set_tls(r, c, mail_tls);
}

void route_login(struct route *r, const struct conf *c, unsigned element)
{
    *r = (struct route){ .kind = ROUTE_MX,
                         .port = (uint16_t)c->send.port,
                         .configured = true };
    use_hop(r, c, &c->send.logins.item[element].to);
    set_tls(r, c, (enum conf_tls)c->send.tls);
}

bool route_has_settings(const struct conf *c)
{
    return c->send.routes.n > 0 || c->send.relay_host.n > 0;
}

bool route_by_sender(const struct conf *c)
{
    bool any = false;

    for (size_t i = 0; i < c->send.routes.n; i++)
        any |= c->send.routes.item[i].sender;
    return any;
}

bool route_has_unix(const struct conf *c)
{
    for (size_t i = 0; i < c->send.routes.n; i++)
        if (c->send.routes.item[i].path[0] != '\0')
            return true;
    return false;
}

void route_key(char out[ROUTE_KEY_MAX], const struct route *r)
{
    static const char *const kinds[] = { "local",    "mx",   "host", "address",
                                         "loopback", "unix", "bad" };

    bool strict = r->tls >= CONF_TLS_ENCRYPT;

    snprintf(out, ROUTE_KEY_MAX, "%s%s%s/%.*s/%u%s%s",
             r->relay > 0    ? "relay/"
             : r->configured ? "setting/"
                             : "",
             r->lmtp ? "lmtp-" : "", kinds[r->kind], (int)sizeof r->host - 1,
             r->host, (unsigned)r->port, strict ? "/" : "",
             strict ? tls_policy_name(r->tls) : "");
    for (char *p = out; *p != '\0'; p++)
        if (*p == ' ')
            *p = '_';
}
