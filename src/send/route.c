#include "send/route.h"

#include "base/addr.h"
#include "smtp/address.h"

#include <string.h>

static bool set_host(struct route *r, struct span host)
{
    if (!span_copy(r->host, sizeof r->host, host))
        return false;
    ascii_lower_str(r->host);
    return host.n > 0;
}

static bool parse_port(struct span text, uint16_t *port)
{
    unsigned long long n;

    if (!span_u64(text, 65535, &n) || n == 0)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool is_address(struct span host)
{
    struct addr a;

    if (span_starts_nocase(host, "IPv6:")) {
        host.p += 5;
        host.n -= 5;
    }
    return addr_parse_ip(&a, host, 0);
}

static bool set_address(struct route *r, struct span host)
{
    struct addr a;
    char text[ADDR_TEXT];

    if (span_starts_nocase(host, "IPv6:")) {
        host.p += 5;
        host.n -= 5;
    }
    if (!addr_parse_ip(&a, host, 0))
        return false;
    addr_text(text, &a); /* one spelling for one address */
    r->kind = ROUTE_ADDRESS;
    return set_host(r, span_of(text));
}

static bool parse_bracketed(struct route *r, struct span s)
{
    size_t close = span_find(s, ']');

    if (close == s.n)
        return false;
    struct span host = { s.p + 1, close - 1 };
    struct span rest = { s.p + close + 1, s.n - close - 1 };
    if (rest.n > 0) {
        struct span digits = { rest.p + 1, rest.n - 1 };
        if (rest.p[0] != ':' || !parse_port(digits, &r->port))
            return false;
    }
    if (is_address(host))
        return set_address(r, host);
    r->kind = ROUTE_HOST;
    return smtp_domain_valid(host) && set_host(r, host);
}

bool route_parse(struct route *r, struct span s, uint16_t port)
{
    r->port = port;
    if (s.n > 0 && s.p[0] == '[')
        return parse_bracketed(r, s);
    if (is_address(s)) /* an IPv6 address has colons of its own */
        return set_address(r, s);
    size_t colon = span_find(s, ':');
    struct span host = { s.p, colon };
    if (colon < s.n) {
        struct span digits = { s.p + colon + 1, s.n - colon - 1 };
        if (!parse_port(digits, &r->port))
            return false;
    }
    if (is_address(host))
        return set_address(r, host);
    r->kind = ROUTE_MX;
    return smtp_domain_valid(host) && set_host(r, host);
}

/* The length of an entry's left side if it matches, else 0. */
static size_t fit(struct span pattern, struct span domain)
{
    if (pattern.n == 0 || pattern.n > domain.n)
        return 0;
    if (pattern.p[0] != '.')
        return span_eq_nocase(pattern, domain) ? pattern.n : 0;
    struct span end = { domain.p + domain.n - pattern.n, pattern.n };
    return pattern.n < domain.n && span_eq_nocase(pattern, end) ? pattern.n : 0;
}

static const char *longest_route(const struct conf_list *routes,
                                 struct span domain)
{
    const char *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < routes->n; i++) {
        struct span line = span_of(routes->item[i]);
        size_t eq = span_find(line, '=');
        size_t n = fit(span_trim((struct span){ line.p, eq }), domain);
        if (eq < line.n && n > most) {
            most = n;
            best = routes->item[i];
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

static void by_entry(struct route *r, const char *entry, uint16_t port)
{
    struct span right = span_trim(span_of(strchr(entry, '=') + 1));

    r->rule = entry;
    if (span_starts_nocase(right, "lmtp:"))
        bad(r, "lmtp routes are not supported yet");
    else if (!route_parse(r, right, port))
        bad(r, "the route for this domain is malformed");
}

static void by_literal(struct route *r, struct span domain)
{
    r->port = 25;
    if (!parse_bracketed(r, domain) || r->kind != ROUTE_ADDRESS)
        bad(r, "not an address of a host");
}

/* U-labels: DNS decides whether it can turn them into a name. */
static bool has_utf8(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    return false;
}

void route_find(struct route *r, const struct conf *c, struct span domain,
                bool is_local)
{
    uint16_t port = (uint16_t)c->send.port;
    const char *entry;

    *r = (struct route){ .kind = ROUTE_MX, .port = port };
    if (is_local) {
        r->kind = ROUTE_LOCAL;
        r->rule = "local.domains";
        return;
    }
    if ((entry = longest_route(&c->send.routes, domain)) != NULL) {
        by_entry(r, entry, port);
    } else if (c->send.relay_host[0] != '\0') {
        r->rule = "send.relay_host";
        if (!route_parse(r, span_of(c->send.relay_host), port))
            bad(r, "send.relay_host is malformed");
    } else if (domain.n > 0 && domain.p[0] == '[') {
        by_literal(r, domain);
        r->port = port;
    } else if (!(smtp_domain_valid(domain) || has_utf8(domain)) ||
               !set_host(r, domain)) {
        bad(r, "not a domain name that DNS can hold");
    }
}
