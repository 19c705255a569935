/* rewrite.c - which address becomes which; the header: rewrite_header.c. */
#include "mail/rewrite.h"

#include "base/idn.h"
#include "mail/rewrite_private.h"

#include <stdio.h>
#include <string.h>

bool rewrite_wanted(const struct conf *c)
{
    return c->rewrite.from[0] != '\0' || c->rewrite.rules.n > 0;
}

/* Lines that stand there already are not noted again. */
static void note(struct rewrite_notes *notes, const char *what,
                 const struct rewrite_case *k, const char *rule)
{
    char line[2 * SMTP_ADDRESS_MAX + 1024];

    if (notes == NULL)
        return;
    int n = snprintf(line, sizeof line, "%s %.*s to %s by %s", what,
                     (int)k->given.n, k->given.p, k->out, rule);
    if (n < 0 || (size_t)n + 2 > sizeof notes->text - notes->n ||
        strstr(notes->text, line) != NULL)
        return;
    if (notes->n > 0)
        notes->text[notes->n++] = '\n';
    memcpy(notes->text + notes->n, line, (size_t)n + 1);
    notes->n += (size_t)n;
}

static bool is_this_host(const struct conf *c, const char *domain)
{
    if (strcmp(domain, c->hostname) == 0)
        return true;
    for (size_t i = 0; i < c->local.domains.n; i++)
        if (strcmp(domain, c->local.domains.item[i].name) == 0)
            return true;
    return false;
}

static bool is_below(const char *domain, const char *top)
{
    size_t n = strlen(domain), k = strlen(top);

    return n > k + 1 && domain[n - k - 1] == '.' &&
           strcmp(domain + n - k, top) == 0;
}

static bool fits(const struct conf *c, const struct conf_rewrite *r,
                 struct span local, const char *domain)
{
    if (r->any)
        return true;
    if (r->local[0] != '\0' && !span_is_nocase(local, r->local))
        return false;
    if (r->domain[0] == '\0')
        return is_this_host(c, domain);
    return r->below ? is_below(domain, r->domain)
                    : strcmp(domain, r->domain) == 0;
}

/* False: it would be longer than an address may be. */
static bool put_together(char out[SMTP_ADDRESS_MAX], struct span local,
                         const char *domain)
{
    int n = snprintf(out, SMTP_ADDRESS_MAX, "%.*s@%s", (int)local.n, local.p,
                     domain);

    return n > 0 && n < SMTP_ADDRESS_MAX;
}

static bool apply(const struct conf *c, const struct conf_rewrite *r,
                  struct span local, char out[SMTP_ADDRESS_MAX])
{
    return put_together(out,
                        r->to_local[0] != '\0' ? span_of(r->to_local) : local,
                        r->to_domain[0] != '\0' ? r->to_domain : c->hostname);
}

/* The first rule that fits; NULL: none. */
static const struct conf_rewrite *find_rule(const struct conf *c,
                                            enum conf_rewrite_of of,
                                            struct span local,
                                            const char *domain)
{
    for (size_t i = 0; i < c->rewrite.rules.n; i++) {
        const struct conf_rewrite *r = &c->rewrite.rules.item[i];
        if ((r->of & (unsigned)of) != 0 && fits(c, r, local, domain))
            return r;
    }
    return NULL;
}

bool rewrite_one(struct rewrite_case *k, const struct conf *c,
                 struct rewrite_notes *notes)
{
    char domain[IDN_MAX], rule[CONF_TEXT_MAX];
    struct smtp_address a;
    enum smtp_address_error bad = smtp_address_parse(&a, k->given);

    if (bad != SMTP_ADDRESS_OK && bad != SMTP_ADDRESS_NO_DOMAIN)
        return false;
    bool bare = bad == SMTP_ADDRESS_NO_DOMAIN;
    if (bare)
        snprintf(domain, sizeof domain, "%s", c->hostname);
    else if (a.is_literal || idn_normal(domain, a.domain) != NULL)
        (void)span_copy(domain, sizeof domain, a.domain);
    const struct conf_rewrite *r = find_rule(c, k->of, a.local, domain);
    if (r != NULL) {
        char text[CONF_TEXT_MAX - 32];
        conf_rewrite_text(text, sizeof text, r);
        snprintf(rule, sizeof rule, "rewrite.rules \"%s\"", text);
        if (!apply(c, r, a.local, k->out))
            return false;
    } else if (k->forced && c->rewrite.from[0] != '\0') {
        snprintf(rule, sizeof rule, "rewrite.from");
        (void)span_copy(k->out, sizeof k->out, span_of(c->rewrite.from));
    } else {
        return bare && put_together(k->out, a.local, c->hostname);
    }
    if (span_is(k->given, k->out))
        return false;
    note(notes, k->what, k, rule);
    return true;
}

bool rewrite_envelope(const struct conf *c, enum conf_rewrite_of of,
                      struct span address, char out[SMTP_ADDRESS_MAX],
                      struct rewrite_notes *notes)
{
    struct rewrite_case k = { .of = of,
                              .forced = of == CONF_REWRITE_SENDER,
                              .given = address,
                              .what = of == CONF_REWRITE_SENDER ? "sender"
                                                                : "recipient" };

    if (!rewrite_one(&k, c, notes))
        return false;
    memcpy(out, k.out, SMTP_ADDRESS_MAX);
    return true;
}
