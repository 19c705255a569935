#include "cli/spf.h"

#include "base/network.h"
#include "cli/spf_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum spf_result check_host(struct spf_evaluation *x, const char *domain);

static enum spf_result end_with(struct spf_evaluation *x, enum spf_result r,
                                const char *what, struct span term)
{
    snprintf(x->why, x->why_size, "%s%s%.*s", what, term.n > 0 ? ": " : "",
             (int)term.n, term.p);
    return r;
}

/* --- look-ups ------------------------------------------------------------- */

/* NULL: no memory; the caller frees it. */
static struct check_answer *ask(const struct spf_evaluation *x,
                                const char *name, enum dns_type type)
{
    struct check_answer *a = calloc(1, sizeof *a);

    if (a != NULL)
        x->lookup->fn(x->lookup->ctx, name, type, a);
    return a;
}

/* RFC 7208 4.6.4: terms count whose look-ups find nothing. */
static enum spf_result count_void(struct spf_evaluation *x, const char *name)
{
    if (x->is_void)
        return SPF_NONE;
    x->is_void = true;
    return ++x->voids <= SPF_VOID_MAX
               ? SPF_NONE
               : end_with(x, SPF_PERMERROR, "more than 2 look-ups find nothing",
                          span_of(name));
}

/* SPF_NONE: *a has the answer, which the caller frees; else the end of the
 * evaluation, and *a is NULL. */
static enum spf_result look_up(struct spf_evaluation *x, const char *name,
                               enum dns_type type, struct check_answer **out)
{
    struct check_answer *a = ask(x, name, type);
    enum spf_result r = SPF_NONE;

    if (a == NULL)
        r = end_with(x, SPF_TEMPERROR, "no memory", span_of(""));
    else if (a->status == DNS_FAILED)
        r = end_with(x, SPF_TEMPERROR, a->why, span_of(""));
    else if (a->n == 0 && a->status != DNS_BADNAME)
        r = count_void(x, name);
    if (r != SPF_NONE) {
        free(a);
        a = NULL;
    }
    *out = a;
    return r;
}

/* RFC 7208 4.6.4: of terms that ask the DNS. */
static bool counts_on(struct spf_evaluation *x)
{
    return ++x->lookups <= SPF_LOOKUPS_MAX;
}

/* --- names of the address (RFC 7208 5.5) ---------------------------------- */

static bool leads_back(const struct spf_evaluation *x, const char *name)
{
    bool found = false;
    struct check_answer *a = ask(x, name, addr_is_v6(x->ip) ? DNS_AAAA : DNS_A);

    for (size_t i = 0; a != NULL && i < a->n; i++)
        found |= addr_same_host(&a->rr[i].addr, x->ip);
    free(a);
    return found;
}

const struct spf_names *spf_names(struct spf_evaluation *x)
{
    struct spf_names *names = &x->names;
    char reverse[80];

    if (names->known)
        return names;
    names->known = true;
    addr_reverse_name(reverse, sizeof reverse, x->ip);
    struct check_answer *a = ask(x, reverse, DNS_PTR);
    names->none = a != NULL && a->status != DNS_FAILED && a->n == 0;
    for (size_t i = 0; a != NULL && i < a->n && i < SPF_HOSTS_MAX; i++)
        if (leads_back(x, a->rr[i].name))
            snprintf(names->name[names->n++], DNS_NAME_MAX, "%s",
                     a->rr[i].name);
    free(a);
    return names;
}

bool spf_is_below(const char *name, const char *domain)
{
    size_t n = strlen(name), k = strlen(domain);

    return n >= k && strcasecmp(name + n - k, domain) == 0 &&
           (n == k || name[n - k - 1] == '.');
}

/* --- mechanisms ----------------------------------------------------------- */

static bool in_prefix(const struct addr *ip, const struct addr *a,
                      const struct spf_term *t)
{
    struct net_cidr n = { *a, addr_is_v6(a) ? t->v6 : t->v4 };

    return addr_is_v6(a) == addr_is_v6(ip) && net_cidr_has(&n, ip);
}

static enum spf_result match_addresses(struct spf_evaluation *x,
                                       const char *name,
                                       const struct spf_term *t, bool *matches)
{
    struct check_answer *a;
    enum spf_result r =
        look_up(x, name, addr_is_v6(x->ip) ? DNS_AAAA : DNS_A, &a);

    for (size_t i = 0; r == SPF_NONE && i < a->n; i++)
        *matches |= in_prefix(x->ip, &a->rr[i].addr, t);
    free(a);
    return r;
}

/* RFC 7208 4.6.4: at most 10 hosts, which are no look-ups of the 10. */
static enum spf_result match_mx(struct spf_evaluation *x, const char *name,
                                const struct spf_term *t, bool *matches)
{
    struct check_answer *a;
    enum spf_result r = look_up(x, name, DNS_MX, &a);

    if (r == SPF_NONE && a->n > SPF_HOSTS_MAX)
        r = end_with(x, SPF_PERMERROR, "more than 10 MX records", t->whole);
    for (size_t i = 0; r == SPF_NONE && i < a->n && !*matches; i++)
        if (a->rr[i].name[0] != '\0')
            r = match_addresses(x, a->rr[i].name, t, matches);
    free(a);
    return r;
}

static enum spf_result match_exists(struct spf_evaluation *x, const char *name,
                                    bool *matches)
{
    struct check_answer *a;
    enum spf_result r = look_up(x, name, DNS_A, &a);

    *matches = r == SPF_NONE && a->n > 0;
    free(a);
    return r;
}

static enum spf_result match_ptr(struct spf_evaluation *x, const char *name,
                                 bool *matches)
{
    const struct spf_names *names = spf_names(x);

    for (size_t i = 0; i < names->n; i++)
        *matches |= spf_is_below(names->name[i], name);
    return names->none ? count_void(x, name) : SPF_NONE;
}

static enum spf_result match_include(struct spf_evaluation *x, const char *name,
                                     const struct spf_term *t, bool *matches)
{
    enum spf_result r = check_host(x, name);

    *matches = r == SPF_PASS;
    if (r >= SPF_TEMPERROR)
        return r;
    return r == SPF_NONE ? end_with(x, SPF_PERMERROR,
                                    "includes a domain without SPF", t->whole)
                         : SPF_NONE;
}

/* SPF_NONE: it is the target of the term, by default the domain of the record.
 * Octets that master files escape, as the @ of a sender, are in no name that
 * dns_ask() takes. */
static enum spf_result target_of(char name[DNS_NAME_MAX],
                                 struct spf_evaluation *x,
                                 const struct spf_term *t, const char *domain)
{
    if (!counts_on(x))
        return end_with(x, SPF_PERMERROR, "more than 10 look-ups", span_of(""));
    if (t->domain.n == 0)
        snprintf(name, DNS_NAME_MAX, "%s", domain);
    else if (!spf_expand(name, x, t->domain, domain))
        return end_with(x, SPF_CANNOT_SAY, "too long a name", t->whole);
    return strpbrk(name, "\";\\()@$") == NULL
               ? SPF_NONE
               : end_with(x, SPF_CANNOT_SAY, "not a name to ask for", t->whole);
}

/* Those that ask the DNS. */
static enum spf_result match_by_dns(struct spf_evaluation *x,
                                    const struct spf_term *t,
                                    const char *domain, bool *matches)
{
    char name[DNS_NAME_MAX];
    enum spf_result r = target_of(name, x, t, domain);

    if (r != SPF_NONE)
        return r;
    switch (t->kind) {
    case SPF_A: return match_addresses(x, name, t, matches);
    case SPF_MX: return match_mx(x, name, t, matches);
    case SPF_PTR: return match_ptr(x, name, matches);
    case SPF_INCLUDE: return match_include(x, name, t, matches);
    case SPF_EXISTS: return match_exists(x, name, matches);
    default: return SPF_NONE;
    }
}

/* SPF_NONE: *matches has the answer. */
static enum spf_result match(struct spf_evaluation *x, const struct spf_term *t,
                             const char *domain, bool *matches)
{
    *matches = false;
    x->is_void = false;
    switch (t->kind) {
    case SPF_ALL: *matches = true; return SPF_NONE;
    case SPF_IP4:
    case SPF_IP6: /* also of one that maps an IPv4 address, no IPv4 client */
        *matches = addr_is_v6(x->ip) == (t->kind == SPF_IP6) &&
                   in_prefix(x->ip, &t->ip, t);
        return SPF_NONE;
    case SPF_REDIRECT:
    case SPF_EXP:
    case SPF_UNKNOWN_MODIFIER: return SPF_NONE;
    default: return match_by_dns(x, t, domain, matches);
    }
}

/* --- records -------------------------------------------------------------- */

static enum spf_result redirect(struct spf_evaluation *x,
                                const struct spf_term *t, const char *domain)
{
    char name[DNS_NAME_MAX];
    enum spf_result r = target_of(name, x, t, domain);

    if (r != SPF_NONE)
        return r;
    r = check_host(x, name);
    return r == SPF_NONE
               ? end_with(x, SPF_PERMERROR, "redirects to a domain without SPF",
                          t->whole)
               : r;
}

/* RFC 7208 4.6: a record that is malformed anywhere is never evaluated.  *to:
 * redirect=, without a domain where there is none. */
static enum spf_result check_syntax(struct spf_evaluation *x, struct span rest,
                                    struct spf_term *to)
{
    unsigned redirects = 0, exps = 0;
    struct spf_term t;
    int rc;

    to->domain.n = 0;
    while ((rc = spf_next_term(&t, &rest)) > 0) {
        if (t.kind == SPF_REDIRECT)
            *to = t;
        redirects += t.kind == SPF_REDIRECT;
        exps += t.kind == SPF_EXP;
        if (redirects > 1 || exps > 1)
            return end_with(x, SPF_PERMERROR, "a second time", t.whole);
    }
    return rc == 0 ? SPF_NONE
                   : end_with(x, SPF_PERMERROR, "malformed", t.whole);
}

static enum spf_result evaluate(struct spf_evaluation *x, struct span rest,
                                const char *domain)
{
    struct spf_term t, to;
    bool matches;
    enum spf_result r = check_syntax(x, rest, &to);

    while (r == SPF_NONE && spf_next_term(&t, &rest) > 0) {
        r = match(x, &t, domain, &matches);
        if (r == SPF_NONE && matches)
            return end_with(x, t.result, "by", t.whole);
    }
    if (r != SPF_NONE)
        return r;
    return to.domain.n > 0
               ? redirect(x, &to, domain)
               : end_with(x, SPF_NEUTRAL, "no term of it matches", span_of(""));
}

static bool is_spf(const char *text)
{
    static const char version[] = "v=spf1";
    size_t n = sizeof version - 1;

    return strncasecmp(text, version, n) == 0 &&
           (text[n] == ' ' || text[n] == '\0');
}

/* The look-ups bound the number of these. */
static enum spf_result check_host(struct spf_evaluation *x, const char *domain)
{
    struct check_answer *a = ask(x, domain, DNS_TXT);
    const char *record = NULL;
    unsigned n = 0;
    enum spf_result r = SPF_NONE;

    for (size_t i = 0; a != NULL && i < a->n; i++)
        if (is_spf(a->rr[i].text)) {
            record = a->rr[i].text;
            n++;
        }
    if (a == NULL)
        r = end_with(x, SPF_TEMPERROR, "no memory", span_of(""));
    else if (a->status == DNS_FAILED)
        r = end_with(x, SPF_TEMPERROR, a->why, span_of(""));
    else if (n > 1)
        r = end_with(x, SPF_PERMERROR, "more than one SPF record",
                     span_of(domain));
    else if (n == 1)
        r = evaluate(x, span_of(record + 6), domain);
    free(a);
    return r;
}

enum spf_result spf_check(const struct check_lookup *lookup,
                          const struct addr *ip, const char *domain,
                          const char *helo, struct spf_why *why)
{
    struct spf_evaluation x = { .lookup = lookup,
                                .ip = ip,
                                .domain = domain,
                                .helo = helo,
                                .why = why->text,
                                .why_size = sizeof why->text };

    why->text[0] = '\0';
    return check_host(&x, domain);
}
