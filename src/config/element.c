#include "config/element.h"

#include "base/host_port.h"
#include "base/network.h"

#include <string.h>

/* --- names ------------------------------------------------------------ */

/* RFC 5321 4.1.3: [192.0.2.1], [IPv6:2001:db8::1]. */
static int parse_literal(char out[CONF_NAME_MAX], struct span s, struct err *e)
{
    char text[ADDR_PORT_TEXT];
    struct host_port h;

    if (host_port_parse(&h, s, e) != 0)
        return -1;
    if (!h.numeric || h.port != 0)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not an address in brackets (write"
                       " [192.0.2.1] or [IPv6:2001:db8::1])",
                       (int)s.n, s.p);
    addr_literal(text, &h.addr);
    span_copy(out, CONF_NAME_MAX, span_of(text));
    return 0;
}

int conf_parse_hostname(char out[CONF_NAME_MAX], struct span s, struct err *e)
{
    if (s.n > 0 && s.p[0] == '[')
        return parse_literal(out, s, e);
    const char *fault = idn_normal(out, s);
    if (fault == NULL)
        return 0;
    return err_set(e, ERR_USAGE, 0,
                   "'%.*s' %s (a name is written mail.example.com)",
                   s.n > 100 ? 100 : (int)s.n, s.p, fault);
}

/* Some tables have a domain as "@example.com". */
static int parse_domain(void *el, struct span s, struct err *e)
{
    struct conf_domain *d = el;

    if (s.n > 1 && s.p[0] == '@')
        s = (struct span){ s.p + 1, s.n - 1 };
    return conf_parse_hostname(d->name, s, e);
}

static void domain_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_domain *d = el;

    snprintf(out, CONF_ELEMENT_TEXT, "%s", d->name);
}

/* --- addresses -------------------------------------------------------- */

enum { DNS_PORT = 53, SMTP_PORT = 25, SUBMISSIONS_PORT = 465 };

static int parse_server(void *el, struct span s, struct err *e)
{
    return addr_parse(el, s, DNS_PORT, e);
}

static void addr_as_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    addr_port_text(out, el);
}

static int parse_network(void *el, struct span s, struct err *e)
{
    if (span_find(s, ' ') < s.n) /* as Postfix has it */
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' has a blank in it: write a comma between"
                       " networks",
                       span_clipped(s), s.p);
    return net_cidr_parse(el, s, e);
}

static void network_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    net_cidr_text(out, el);
}

static int parse_role(struct conf_listener *l, struct span role, struct err *e)
{
    static const char *const roles[] = { "tls", "submission", "proxy", "lmtp",
                                         NULL };
    char word[32];

    if (span_is_nocase(role, "tls")) {
        l->roles |= CONF_ROLE_TLS;
        return 0;
    }
    const char *instead = conf_unbuilt_value("serve.listen", role);
    if (instead != NULL)
        return err_set(e, ERR_USAGE, 0, "role %.*s is not in this version%s",
                       (int)role.n, role.p, instead);
    const char *near = span_copy(word, sizeof word, role)
                           ? conf_nearest_word(roles, word)
                           : NULL;
    return err_set(e, ERR_USAGE, 0, "'%.*s' is no role of a listener%s%s%s",
                   role.n > 60 ? 60 : (int)role.n, role.p,
                   near != NULL ? "; did you mean " : "",
                   near != NULL ? near : "", near != NULL ? "?" : "");
}

static int parse_socket(char path[ADDR_UNIX_MAX + 1], struct span s,
                        const char *example, struct err *e)
{
    if (s.n == 0 || s.p[0] != '/')
        return err_set(e, ERR_USAGE, 0,
                       "the path of a socket begins with / (write %s)",
                       example);
    if (!span_copy(path, ADDR_UNIX_MAX + 1, s))
        return err_set(e, ERR_USAGE, 0,
                       "the path of a socket has at most %d octets",
                       ADDR_UNIX_MAX);
    return 0;
}

/* All of it is the path, for which there are no roles. */
static int parse_unix_listener(struct conf_listener *l, struct span path,
                               struct err *e)
{
    addr_from_path(&l->addr, "");
    return parse_socket(l->path, path, "unix:/run/mta/submit", e);
}

/* Others have "*:25", ":25", a port or a name in this place. */
static int parse_listen_address(struct addr *a, struct span s, uint16_t port,
                                struct err *e)
{
    struct host_port h;
    int rc = host_port_parse(&h, s, e);

    if (rc == 0 && h.numeric)
        return addr_parse(a, s, port, e);
    if (rc != 0 && s.n > 0 && s.p[0] != '*' && s.p[0] != ':')
        return -1;
    return err_set(e, ERR_USAGE, 0,
                   "'%.*s' is not an address (192.0.2.1:25, [::1]:25; all of"
                   " this host: 0.0.0.0:25 and [::]:25)",
                   span_clipped(s), s.p);
}

/* "ADDRESS:PORT [ROLE ...]" or "unix:PATH" */
static int parse_listener(void *el, struct span s, struct err *e)
{
    struct conf_listener *l = el;
    size_t n = span_find(s, ' ');
    struct span rest = span_trim((struct span){ s.p + n, s.n - n });

    if (span_starts_nocase(s, "unix:"))
        return parse_unix_listener(l, (struct span){ s.p + 5, s.n - 5 }, e);

    while (rest.n > 0) {
        struct span role = { rest.p, span_find(rest, ' ') };
        if (parse_role(l, role, e) != 0) {
            err_prefix(e, "'%.*s'", s.n > 100 ? 100 : (int)s.n, s.p);
            return -1;
        }
        rest = span_trim((struct span){ rest.p + role.n, rest.n - role.n });
    }
    return parse_listen_address(
        &l->addr, (struct span){ s.p, n },
        l->roles & CONF_ROLE_TLS ? SUBMISSIONS_PORT : SMTP_PORT, e);
}

struct addr conf_listener_addr(const struct conf_listener *l)
{
    struct addr a = l->addr;

    if (l->path[0] != '\0')
        addr_from_path(&a, l->path);
    return a;
}

static void listener_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_listener *l = el;
    const struct addr addr = conf_listener_addr(l);
    char at[ADDR_PORT_TEXT];

    addr_port_text(at, &addr);
    snprintf(out, CONF_ELEMENT_TEXT, "%s%s", at,
             l->roles & CONF_ROLE_TLS ? " tls" : "");
}

/* --- rules: KEY=VALUE ------------------------------------------------- */

/* A character in front of a name, ".example.com". */
static bool take_mark(struct span *name, char mark)
{
    if (name->n < 2 || name->p[0] != mark)
        return false;
    *name = (struct span){ name->p + 1, name->n - 1 };
    return true;
}

/* What stands behind the first "=", which is there. */
static struct span value_of(struct span rule)
{
    size_t n = span_find(rule, '=') + 1;

    return span_trim((struct span){ rule.p + n, rule.n - n });
}

/* --- routes ----------------------------------------------------------- */

/* LMTP has no port of its own (RFC 2033 5), and its hosts no MX. */
static int parse_lmtp(struct conf_route *r, struct span to, struct err *e)
{
    r->lmtp = true;
    if (span_starts_nocase(to, "unix:"))
        return parse_socket(r->path, (struct span){ to.p + 5, to.n - 5 },
                            "lmtp:unix:/run/dovecot/lmtp", e);
    if (host_port_parse(&r->to, to, e) != 0)
        return -1;
    if (r->to.port == 0)
        return err_set(e, ERR_USAGE, 0,
                       "LMTP needs a port (write lmtp:host:24)");
    return 0;
}

static int parse_next_hop(struct conf_route *r, struct span to, struct err *e)
{
    if (span_starts_nocase(to, "lmtp:"))
        return parse_lmtp(r, (struct span){ to.p + 5, to.n - 5 }, e);
    return host_port_parse(&r->to, to, e);
}

static int parse_route(void *el, struct span s, struct err *e)
{
    struct conf_route *r = el;
    size_t eq = span_find(s, '=');
    struct span domain = span_trim((struct span){ s.p, eq });

    if (eq == s.n)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' has no = (a route is written"
                       " example.com=host:25)",
                       s.n > 100 ? 100 : (int)s.n, s.p);
    r->sender = take_mark(&domain, '@');
    r->below = take_mark(&domain, '.');
    struct span to = value_of(s);
    if (conf_unbuilt_value("send.routes", to))
        return err_set(e, ERR_USAGE, 0, "'%.*s' is not in this version",
                       s.n > 100 ? 100 : (int)s.n, s.p);
    if (conf_parse_hostname(r->domain, domain, e) == 0 &&
        parse_next_hop(r, to, e) == 0)
        return 0;
    err_prefix(e, "'%.*s'", s.n > 100 ? 100 : (int)s.n, s.p);
    return -1;
}

static void route_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_route *r = el;
    char to[HOST_PORT_TEXT];

    if (r->path[0] != '\0')
        snprintf(to, sizeof to, "unix:%s", r->path);
    else
        host_port_text(to, &r->to);
    snprintf(out, CONF_ELEMENT_TEXT, "%s%s%s=%s%s", r->sender ? "@" : "",
             r->below ? "." : "", r->domain, r->lmtp ? "lmtp:" : "", to);
}

/* --- next hops -------------------------------------------------------- */

static int parse_hop(void *el, struct span s, struct err *e)
{
    return host_port_parse(el, s, e);
}

static void hop_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    host_port_text(out, el);
}

/* --- relay domains ---------------------------------------------------- */

static int parse_recipients(struct conf_relay *r, struct span from,
                            struct err *e)
{
    if (!span_starts_nocase(from, "file:") || from.n == 5)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not file:PATH, the file of its recipients",
                       span_clipped(from), from.p);
    return conf_parse_path(r->recipients, sizeof r->recipients,
                           span_trim((struct span){ from.p + 5, from.n - 5 }),
                           e);
}

/* "example.com", ".example.com", "example.com=file:PATH" */
static int parse_relay(void *el, struct span s, struct err *e)
{
    struct conf_relay *r = el;
    size_t eq = span_find(s, '=');
    struct span domain = span_trim((struct span){ s.p, eq });

    r->below = take_mark(&domain, '.');
    const char *fault = idn_normal(r->domain, domain);
    if (fault != NULL)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' %s (a relay domain is written example.com, or"
                       " example.com=file:PATH)",
                       span_clipped(s), s.p, fault);
    return eq == s.n ? 0 : parse_recipients(r, value_of(s), e);
}

static void relay_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_relay *r = el;

    snprintf(out, CONF_ELEMENT_TEXT, "%s%s%s%s", r->below ? "." : "", r->domain,
             r->recipients[0] != '\0' ? "=file:" : "", r->recipients);
}

/* --- files ------------------------------------------------------------ */

static int parse_file(void *el, struct span s, struct err *e)
{
    struct conf_file *f = el;

    /* As from a variable that ends in _FILE and names the file itself. */
    if (span_starts_nocase(s, "-----BEGIN"))
        return err_set(e, ERR_USAGE, 0,
                       "is the text of a file, should be the file's name");
    return conf_parse_path(f->path, sizeof f->path, s, e);
}

static void file_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_file *f = el;

    snprintf(out, CONF_ELEMENT_TEXT, "%s", f->path);
}

/* --- providers -------------------------------------------------------- */

/* It stands in log and state: letters, digits, "-". */
static bool is_group_name(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return s.n > 0;
}

static int parse_provider(void *el, struct span s, struct err *e)
{
    struct conf_provider *p = el;
    size_t eq = span_find(s, '=');
    struct span group = span_trim((struct span){ s.p, eq });
    char name[CONF_NAME_MAX];

    if (eq == s.n || !is_group_name(group) ||
        !span_copy(p->group, sizeof p->group, group))
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' has no name of a group (a provider is written"
                       " google=.google.com)",
                       span_clipped(s), s.p);
    ascii_lower_str(p->group);
    struct span suffix = value_of(s);
    bool below = take_mark(&suffix, '.');
    if (conf_parse_hostname(name, suffix, e) != 0) {
        err_prefix(e, "'%.*s'", span_clipped(s), s.p);
        return -1;
    }
    if (name[0] == '[' || strlen(name) + below >= sizeof p->suffix)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is no end of a host name (a provider is written"
                       " google=.google.com)",
                       span_clipped(s), s.p);
    p->suffix[0] = '.';
    (void)span_copy(p->suffix + below, sizeof p->suffix - below, span_of(name));
    return 0;
}

static void provider_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_provider *p = el;

    snprintf(out, CONF_ELEMENT_TEXT, "%s=%s", p->group, p->suffix);
}

/* --- keys of DKIM ----------------------------------------------------- */

static int parse_dkim_name(char out[CONF_NAME_MAX], const char *what,
                           struct span s, struct err *e)
{
    const char *fault = idn_normal(out, s);

    return fault == NULL ? 0
                         : err_set(e, ERR_USAGE, 0, "the %s '%.*s' %s", what,
                                   span_clipped(s), s.p, fault);
}

/* "DOMAIN:SELECTOR:FILE" */
static int parse_dkim_key(void *el, struct span s, struct err *e)
{
    struct conf_dkim_key *k = el;
    size_t one = span_find(s, ':');
    struct span rest = { s.p + one, s.n - one };
    size_t two = rest.n > 0
                     ? span_find((struct span){ rest.p + 1, rest.n - 1 }, ':')
                     : 0;

    if (two + 2 >= rest.n)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is no key (write example.com:selector:/path)",
                       span_clipped(s), s.p);
    if (parse_dkim_name(k->domain, "domain", (struct span){ s.p, one }, e) ==
            0 &&
        parse_dkim_name(k->selector, "selector",
                        (struct span){ rest.p + 1, two }, e) == 0 &&
        conf_parse_path(
            k->path, sizeof k->path,
            span_trim((struct span){ rest.p + two + 2, rest.n - two - 2 }),
            e) == 0)
        return 0;
    err_prefix(e, "'%.*s'", span_clipped(s), s.p);
    return -1;
}

static void dkim_key_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_dkim_key *k = el;

    snprintf(out, CONF_ELEMENT_TEXT, "%s:%s:%s", k->domain, k->selector,
             k->path);
}

/* --- TLS policy ------------------------------------------------------- */

static const char *const *tls_words(void)
{
    return conf_find(SPAN_LIT("send.tls"))->words;
}

static int parse_tls_level(int *level, struct span s, struct err *e)
{
    const char *const *words = tls_words();
    char given[32];

    const char *instead = conf_unbuilt_value("send.tls_policy", s);
    if (instead != NULL)
        return err_set(e, ERR_USAGE, 0, "'%.*s' is not in this version%s",
                       span_clipped(s), s.p, instead);
    for (*level = 0; words[*level] != NULL; ++*level)
        if (span_is_nocase(s, words[*level]))
            return 0;
    snprintf(given, sizeof given, "%.*s", span_clipped(s), s.p);
    const char *near = conf_nearest_word(words, given);
    return err_set(e, ERR_USAGE, 0,
                   "'%s' is not one of none, may, encrypt, verify%s%s%s", given,
                   near != NULL ? "; did you mean '" : "",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
}

static int parse_tls_rule(void *el, struct span s, struct err *e)
{
    struct conf_tls_rule *r = el;
    size_t eq = span_find(s, '=');
    struct span to = span_trim((struct span){ s.p, eq });

    if (eq == s.n)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' has no = (a rule is written"
                       " example.com=verify)",
                       s.n > 100 ? 100 : (int)s.n, s.p);
    r->below = take_mark(&to, '.');
    if (parse_tls_level(&r->level, value_of(s), e) == 0 &&
        host_port_parse(&r->to, to, e) == 0) {
        if (!r->below || (!r->to.bracketed && r->to.port == 0))
            return 0;
        err_set(e, ERR_USAGE, 0, "the domains below a name have no port");
    }
    err_prefix(e, "'%.*s'", s.n > 100 ? 100 : (int)s.n, s.p);
    return -1;
}

static void tls_rule_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_tls_rule *r = el;
    char to[HOST_PORT_TEXT];

    host_port_text(to, &r->to);
    snprintf(out, CONF_ELEMENT_TEXT, "%s%s=%s", r->below ? "." : "", to,
             tls_words()[r->level]);
}

/* --- logins ------------------------------------------------------------ */

static struct span next_word(struct span *rest)
{
    *rest = span_trim(*rest);
    struct span word = { rest->p, span_find(*rest, ' ') };

    rest->p += word.n;
    rest->n -= word.n;
    return word;
}

/* "[host]:587 USER file:PATH" */
static int parse_login(void *el, struct span s, struct err *e)
{
    static const char file[] = "file:";
    struct conf_login *l = el;
    struct span rest = s, to = next_word(&rest), user = next_word(&rest);

    rest = span_trim(rest);
    bool whole = user.n > 0 && span_starts_nocase(rest, file) &&
                 rest.n > sizeof file - 1;
    if (!whole)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is no login (one is written [host]:587 USER"
                       " file:PATH)",
                       span_clipped(s), s.p);
    struct span path = { rest.p + sizeof file - 1, rest.n - sizeof file + 1 };
    if (!span_copy(l->user, sizeof l->user, user) || path.n >= sizeof l->path)
        return err_set(e, ERR_USAGE, 0, "'%.*s': user or path is too long",
                       span_clipped(s), s.p);
    if (conf_parse_path(l->path, sizeof l->path, path, e) != 0)
        return -1;
    return host_port_parse(&l->to, to, e);
}

static void login_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    const struct conf_login *l = el;
    char to[HOST_PORT_TEXT];

    host_port_text(to, &l->to);
    snprintf(out, CONF_ELEMENT_TEXT, "%s %s file:%s", to, l->user, l->path);
}

/* --- rewriting --------------------------------------------------------- */

/* RFC 5322 3.2.3, dot-atom; RFC 6532 adds octets of UTF-8. */
static bool is_local_part(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x80 && !ascii_is_alnum(s.p[i]) &&
            strchr("!#$%&'*+-/=?^_`{|}~.", s.p[i]) == NULL)
            return false;
    return s.n < CONF_NAME_MAX;
}

int conf_parse_address(char local[CONF_NAME_MAX], char domain[CONF_NAME_MAX],
                       struct span s, struct err *e)
{
    size_t at = span_find(s, '@');
    struct span name = { s.p, at };

    local[0] = domain[0] = '\0';
    if (s.n == 0 || at + 1 == s.n || !is_local_part(name))
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not an address (write user@example.com)",
                       span_clipped(s), s.p);
    (void)span_copy(local, CONF_NAME_MAX, name);
    if (at == s.n)
        return 0;
    return conf_parse_hostname(domain,
                               (struct span){ s.p + at + 1, s.n - at - 1 }, e);
}

/* "*", "user", "user@example.com", "@example.com", "@.example.com" */
static int parse_pattern(struct conf_rewrite *r, struct span s, struct err *e)
{
    char text[CONF_TEXT_MAX];
    size_t at = span_find(s, '@');

    r->any = span_is(s, "*");
    if (r->any)
        return 0;
    r->below = at + 2 < s.n && s.p[at + 1] == '.';
    if (r->below) {
        snprintf(text, sizeof text, "%.*s@%.*s", (int)at, s.p,
                 (int)(s.n - at - 2), s.p + at + 2);
        s = span_of(text);
    }
    if (conf_parse_address(r->local, r->domain, s, e) != 0)
        return -1;
    if (strcmp(r->local, "*") == 0)
        r->local[0] = '\0';
    return 0;
}

static int parse_scope(struct conf_rewrite *r, struct span word, struct err *e)
{
    static const char *const scopes[] = { "sender", "recipient", "both", NULL };
    char given[32];

    for (unsigned i = 0; scopes[i] != NULL; i++)
        if (span_is_nocase(word, scopes[i])) {
            r->of = i + 1;
            return 0;
        }
    const char *near = span_copy(given, sizeof given, word)
                           ? conf_nearest_word(scopes, given)
                           : NULL;
    return err_set(
        e, ERR_USAGE, 0, "'%.*s' is none of sender, recipient, both%s%s%s",
        span_clipped(word), word.p, near != NULL ? "; did you mean '" : "",
        near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* "sender|recipient|both PATTERN=ADDRESS" */
static int parse_rewrite(void *el, struct span s, struct err *e)
{
    struct conf_rewrite *r = el;
    struct span rest = s, scope = next_word(&rest);
    size_t eq = span_find(rest, '=');
    struct span pattern = span_trim((struct span){ rest.p, eq });

    if (eq >= rest.n || pattern.n == 0)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is no rule (one is written sender"
                       " root@box.example=me@example.com)",
                       span_clipped(s), s.p);
    struct span to =
        span_trim((struct span){ rest.p + eq + 1, rest.n - eq - 1 });
    if (parse_scope(r, scope, e) == 0 && parse_pattern(r, pattern, e) == 0 &&
        conf_parse_address(r->to_local, r->to_domain, to, e) == 0) {
        if (strcmp(r->to_local, "*") == 0)
            r->to_local[0] = '\0';
        return 0;
    }
    err_prefix(e, "'%.*s'", span_clipped(s), s.p);
    return -1;
}

void conf_rewrite_text(char *out, size_t size, const struct conf_rewrite *r)
{
    static const char *const scopes[] = { "", "sender", "recipient", "both" };
    bool host = r->domain[0] == '\0', to_host = r->to_domain[0] == '\0';

    snprintf(out, size, "%s %s%s%s%s=%s%s%s", scopes[r->of],
             r->any ? "*" : r->local, host ? "" : "@", r->below ? "." : "",
             r->domain, r->to_local, to_host ? "" : "@", r->to_domain);
}

static void rewrite_text(char out[CONF_ELEMENT_TEXT], const void *el)
{
    conf_rewrite_text(out, CONF_ELEMENT_TEXT, el);
}

/* ---------------------------------------------------------------------- */

const struct conf_element *conf_element_of(enum conf_type type)
{
    static const struct conf_element elements[] = {
        { sizeof(struct conf_domain), parse_domain, domain_text },
        { sizeof(struct addr), parse_server, addr_as_text },
        { sizeof(struct net_cidr), parse_network, network_text },
        { sizeof(struct conf_listener), parse_listener, listener_text },
        { sizeof(struct conf_route), parse_route, route_text },
        { sizeof(struct host_port), parse_hop, hop_text },
        { sizeof(struct conf_relay), parse_relay, relay_text },
        { sizeof(struct conf_file), parse_file, file_text },
        { sizeof(struct conf_provider), parse_provider, provider_text },
        { sizeof(struct conf_dkim_key), parse_dkim_key, dkim_key_text },
        { sizeof(struct conf_tls_rule), parse_tls_rule, tls_rule_text },
        { sizeof(struct conf_login), parse_login, login_text },
        { sizeof(struct conf_rewrite), parse_rewrite, rewrite_text },
    };

    return &elements[type - CONF_DOMAINS];
}
