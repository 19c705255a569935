#include "cli/dmarc.h"

#include "cli/tag_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LABELS_MAX = 8 };

/* --- records (RFC 9989 4.7) ----------------------------------------------- */

struct record {
    bool found, strict, testing, has_np;
    char psd; /* 'y', 'n', 'u' */
    enum dmarc_wish p, sp, np;
};

/* True: it is not there, or as it should be. */
static bool take_wish(enum dmarc_wish *out, const char *text, const char *tag)
{
    static const char *const names[] = { [DMARC_NONE] = "none",
                                         [DMARC_QUARANTINE] = "quarantine",
                                         [DMARC_REJECT] = "reject" };
    char value[16];

    if (!tag_list_find(value, sizeof value, text, tag))
        return true;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(value, names[i]) == 0) {
            *out = (enum dmarc_wish)i;
            return true;
        }
    return false;
}

static bool has(const char *text, const char *tag, const char *value)
{
    char got[8];

    return tag_list_find(got, sizeof got, text, tag) &&
           strcasecmp(got, value) == 0;
}

/* A record with a wish that is none counts as p=none, or as no record at all,
 * and then mail meets no policy either. */
static void parse(struct record *r, const char *text)
{
    char any[8];

    *r = (struct record){ .found = true,
                          .strict = has(text, "adkim", "s"),
                          .testing = has(text, "t", "y"),
                          .has_np = tag_list_find(any, sizeof any, text, "np"),
                          .psd = has(text, "psd", "y")   ? 'y'
                                 : has(text, "psd", "n") ? 'n'
                                                         : 'u' };
    bool ok = take_wish(&r->p, text, "p");
    r->sp = r->p;
    ok &= take_wish(&r->sp, text, "sp");
    r->np = r->sp;
    ok &= take_wish(&r->np, text, "np");
    if (!ok)
        r->p = r->sp = r->np = DMARC_NONE;
}

/* --- the walk up the tree (RFC 9989 4.10) --------------------------------- */

struct walk {
    const struct check_lookup *lookup;
    const char *from;      /* where it began */
    const char *org, *psd; /* of its domains; NULL: none has told */
    struct record own, of_org, of_psd;
    struct dmarc_policy *p; /* for what fails */
};

static bool failed(struct walk *w, const char *why)
{
    w->p->status = DMARC_FAILED;
    snprintf(w->p->why, sizeof w->p->why, "%.*s", (int)sizeof w->p->why - 1,
             why);
    return false;
}

/* The one record at a name; several count as none.  False: it failed. */
static bool ask(struct walk *w, const char *domain, struct record *r)
{
    char name[DNS_NAME_MAX + 8];
    struct check_answer *a = calloc(1, sizeof *a);
    const char *text = NULL;
    unsigned n = 0;

    *r = (struct record){ .found = false };
    if (a == NULL)
        return failed(w, "no memory");
    snprintf(name, sizeof name, "_dmarc.%s", domain);
    w->lookup->fn(w->lookup->ctx, name, DNS_TXT, a);
    for (size_t i = 0; i < a->n; i++)
        if (tag_list_begins(a->rr[i].text, "v", "DMARC1")) {
            text = a->rr[i].text;
            n++;
        }
    if (n == 1)
        parse(r, text);
    bool ok = a->status != DNS_FAILED || failed(w, a->why);
    free(a);
    return ok;
}

static const char *parent_of(const char *domain)
{
    const char *dot = strchr(domain, '.');

    return dot != NULL && dot[1] != '\0' ? dot + 1 : NULL;
}

static unsigned labels_of(const char *domain)
{
    unsigned n = 0;

    for (; domain != NULL; domain = parent_of(domain))
        n++;
    return n;
}

/* Behind the domain itself at most 7 names: those above it, of a long one the
 * last labels. */
static const char *next_of(const char *at)
{
    for (at = parent_of(at); labels_of(at) > LABELS_MAX - 1;)
        at = parent_of(at);
    return at;
}

/* The domain one label below `at`. */
static const char *below(const struct walk *w, const char *at)
{
    const char *one = w->from;

    while (parent_of(one) != NULL && parent_of(one) < at)
        one = parent_of(one);
    return one;
}

/* True: the Organizational Domain is known.  It has psd=n, or is below psd=y;
 * else it is the shortest with a record. */
static bool decides(struct walk *w, const char *at, const struct record *r)
{
    if (at == w->from)
        w->own = *r;
    if (r->found && r->psd == 'y' && at != w->from) {
        w->psd = at;
        w->of_psd = *r;
        if (w->org != below(w, at))
            w->of_org.found = false;
        w->org = below(w, at);
        return true;
    }
    if (r->found) {
        w->org = at;
        w->of_org = *r;
    }
    return r->found && r->psd == 'n';
}

/* False: it failed. */
static bool climb(struct walk *w)
{
    struct record r;

    for (const char *at = w->from; at != NULL; at = next_of(at)) {
        if (!ask(w, at, &r))
            return false;
        if (decides(w, at, &r))
            break;
    }
    if (w->org == NULL)
        w->org = w->from;
    return true;
}

/* --- policy --------------------------------------------------------------- */

/* RFC 8020: a name that does not exist, nor anything below it. */
static bool exists(const struct walk *w)
{
    struct check_answer *a = calloc(1, sizeof *a);
    bool gone = false;

    if (a != NULL) {
        w->lookup->fn(w->lookup->ctx, w->from, DNS_MX, a);
        gone = a->status == DNS_NXDOMAIN;
    }
    free(a);
    return !gone;
}

static void use(struct dmarc_policy *p, const char *domain,
                const struct record *r, enum dmarc_wish wish)
{
    p->status = DMARC_FOUND;
    snprintf(p->domain, sizeof p->domain, "%s", domain);
    p->wish = wish;
    p->testing = r->testing;
    p->strict = r->strict;
}

void dmarc_find(struct dmarc_policy *p, const struct check_lookup *l,
                const char *domain)
{
    struct walk w = { .lookup = l, .from = domain, .p = p };

    *p = (struct dmarc_policy){ .status = DMARC_NO_RECORD };
    if (!climb(&w))
        return;
    snprintf(p->org, sizeof p->org, "%s", w.org);
    const struct record *r = w.of_org.found ? &w.of_org : &w.of_psd;
    if (w.own.found)
        use(p, domain, &w.own, w.own.p);
    else if (r->found)
        use(p, r == &w.of_org ? w.org : w.psd, r,
            r->has_np && !exists(&w) ? r->np : r->sp);
}

enum dmarc_status dmarc_judge(struct dmarc_policy *p,
                              const struct check_lookup *l, const char *domain,
                              const char *signer)
{
    struct walk w = { .lookup = l, .from = signer, .p = p };

    if (strcasecmp(domain, signer) == 0)
        return DMARC_FOUND;
    if (p->strict)
        return DMARC_NO_RECORD;
    if (!climb(&w))
        return DMARC_FAILED;
    return strcasecmp(w.org, p->org) == 0 ? DMARC_FOUND : DMARC_NO_RECORD;
}
