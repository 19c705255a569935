#include "send/tls_policy.h"

#include <string.h>

/* Brackets tell how a host is looked up, not which one it is. */
const struct conf_tls_rule *tls_policy_of_hop(const struct conf *c,
                                              const char *hop, uint16_t port)
{
    const struct conf_tls_rules *rules = &c->send.tls_policy;
    const struct conf_tls_rule *best = NULL;

    for (size_t i = 0; i < rules->n; i++) {
        const struct conf_tls_rule *r = &rules->item[i];
        if (!r->below && (r->to.port == 0 || r->to.port == port) &&
            strcmp(r->to.host, hop) == 0 &&
            (best == NULL || r->to.port > best->to.port))
            best = r;
    }
    return best;
}

/* How long the name of a rule is that fits; 0: it does not. */
static size_t fit(const struct conf_tls_rule *r, struct span domain)
{
    size_t n = strlen(r->to.host);

    if (r->to.bracketed || r->to.port != 0)
        return 0;
    if (!r->below)
        return span_is_nocase(domain, r->to.host) ? n + 1 : 0;
    if (domain.n <= n + 1 || domain.p[domain.n - n - 1] != '.')
        return 0;
    struct span end = { domain.p + domain.n - n, n };
    return span_is_nocase(end, r->to.host) ? n + 1 : 0;
}

const struct conf_tls_rule *tls_policy_of_domain(const struct conf *c,
                                                 struct span domain)
{
    const struct conf_tls_rules *rules = &c->send.tls_policy;
    const struct conf_tls_rule *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < rules->n; i++) {
        size_t n = fit(&rules->item[i], domain);
        if (n > most) {
            most = n;
            best = &rules->item[i];
        }
    }
    return best;
}

enum conf_tls tls_policy_level(const struct conf_tls_rule *rule,
                               enum conf_tls otherwise)
{
    return rule != NULL ? (enum conf_tls)rule->level : otherwise;
}

const char *tls_policy_name(enum conf_tls level)
{
    static const char *const names[] = { "none", "may", "encrypt", "verify" };

    return names[level];
}

bool tls_policy_needs_tls(const struct conf *c)
{
    bool needs = c->send.tls != CONF_TLS_NONE || c->send.tls_policy.n > 0 ||
                 c->send.port == TLS_FIRST_PORT;

    for (size_t i = 0; i < c->send.relay_host.n && !needs; i++)
        needs = c->send.relay_host.item[i].port == TLS_FIRST_PORT;
    for (size_t i = 0; i < c->send.routes.n && !needs; i++)
        needs = c->send.routes.item[i].to.port == TLS_FIRST_PORT;
    return needs;
}
