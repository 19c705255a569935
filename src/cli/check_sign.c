/* check_sign.c - DKIM records of our keys, and the DMARC policy that mail of
 * our domains meets. */
#include "cli/check.h"

#include "base/base64.h"
#include "base/digest_key.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TAG_MAX = 1200, TREE_MAX = 8 };

/* --- records of tags (RFC 6376 3.2) --------------------------------------- */

/* The value of a tag without blanks inside; false: it has none. */
static bool tag_of(char *out, size_t size, const char *record, const char *tag)
{
    struct span rest = span_of(record);
    size_t n = 0;

    out[0] = '\0';
    while (rest.n > 0) {
        size_t end = span_find(rest, ';');
        struct span one = { rest.p, end };
        size_t eq = span_find(one, '=');
        end += end < rest.n;
        rest.p += end;
        rest.n -= end;
        if (eq == one.n || !span_is(span_trim((struct span){ one.p, eq }), tag))
            continue;
        for (size_t i = eq + 1; i < one.n && n + 1 < size; i++)
            if (one.p[i] != ' ' && one.p[i] != '\t')
                out[n++] = one.p[i];
        out[n] = '\0';
        return true;
    }
    return false;
}

/* --- DKIM ----------------------------------------------------------------- */

static int public_text(char out[TAG_MAX], const struct conf_dkim_key *key,
                       struct err *e)
{
    struct digest_key *k = NULL;
    struct digest_public p;
    struct buf b;

    if (digest_key_load(&k, key->path, e) != 0)
        return -1;
    int rc = digest_key_public(k, &p, e);
    digest_key_free(&k);
    if (rc != 0)
        return -1;
    buf_init(&b, out, TAG_MAX);
    base64_encode(&b, (struct span){ (const char *)p.octets, p.n });
    return 0;
}

static void say_record(struct checking *k, const struct conf_dkim_key *key,
                       const char *name, const char *text,
                       const struct check_answer *a)
{
    char value[TAG_MAX], flags[32], fix[CONF_PATH_MAX + 64];

    snprintf(fix, sizeof fix, "put the output of 'mta dkim record %s' there",
             key->path);
    for (size_t i = 0; i < a->n; i++) {
        if (!tag_of(value, sizeof value, a->rr[i].text, "p") ||
            strcmp(value, text) != 0)
            continue;
        if (tag_of(flags, sizeof flags, a->rr[i].text, "t") &&
            strchr(flags, 'y') != NULL)
            check_say(k, CHECK_WARNING, "take t=y out of it",
                      "%s says that it is a test", name);
        else
            check_say(k, CHECK_OK, NULL, "%s has the key", name);
        return;
    }
    if (a->status == DNS_FAILED)
        check_say(k, CHECK_WARNING, "see 'resolver'",
                  "%s cannot be looked up now (%s)", name, a->why);
    else if (a->n == 0)
        check_say(k, CHECK_FAULT, fix, "there is no TXT record %s", name);
    else
        check_say(k, CHECK_FAULT, fix,
                  "%s has another key than %s: signatures fail", name,
                  key->path);
}

static void check_key(struct checking *k, const struct conf_dkim_key *key)
{
    char text[TAG_MAX], name[2 * CONF_NAME_MAX + 16];
    struct check_answer *a = malloc(sizeof *a);
    struct err e;

    if (a == NULL)
        return;
    snprintf(name, sizeof name, "%s._domainkey.%s", key->selector, key->domain);
    if (public_text(text, key, &e) != 0) {
        check_say(k, CHECK_FAULT, "name a private key in dkim.keys", "%s",
                  e.text);
    } else {
        check_ask(k, name, DNS_TXT, a);
        say_record(k, key, name, text, a);
    }
    free(a);
}

void check_dkim(struct checking *k)
{
    const struct conf_dkim_keys *keys = &k->conf->dkim.keys;

    if (keys->n == 0 && check_domain(k, 0) != NULL)
        check_say(k, CHECK_WARNING,
                  "make a key with 'mta dkim keygen', and name it in dkim.keys",
                  "mail leaves without a DKIM signature");
    for (size_t i = 0; i < keys->n; i++)
        check_key(k, &keys->item[i]);
}

/* --- DMARC (RFC 9989) ----------------------------------------------------- */

struct record {
    char domain[DNS_NAME_MAX]; /* that has it; "": none */
    char p[16], sp[16], adkim[4], psd[4];
};

/* own: of the domain itself; org: of its Organizational Domain, whose name is
 * org.domain. */
struct policy {
    struct record own, org;
    bool failed;
    char why[200];
};

static bool is_dmarc(const char *text)
{
    char version[16];

    return ascii_lower(text[0]) == 'v' &&
           tag_of(version, sizeof version, text, "v") &&
           strcmp(version, "DMARC1") == 0;
}

static void take_record(struct record *r, const char *domain, const char *text)
{
    snprintf(r->domain, sizeof r->domain, "%s", domain);
    if (!tag_of(r->p, sizeof r->p, text, "p"))
        snprintf(r->p, sizeof r->p, "none");
    if (!tag_of(r->sp, sizeof r->sp, text, "sp"))
        snprintf(r->sp, sizeof r->sp, "%s", r->p);
    tag_of(r->adkim, sizeof r->adkim, text, "adkim");
    tag_of(r->psd, sizeof r->psd, text, "psd");
}

/* The record at one name; several count as none. */
static void ask_record(struct checking *k, const char *domain, struct policy *p,
                       struct record *r)
{
    char name[DNS_NAME_MAX + 8];
    struct check_answer *a = malloc(sizeof *a);
    const char *text = NULL;
    unsigned n = 0;

    r->domain[0] = '\0';
    if (a == NULL)
        return;
    snprintf(name, sizeof name, "_dmarc.%s", domain);
    check_ask(k, name, DNS_TXT, a);
    for (size_t i = 0; i < a->n; i++)
        if (is_dmarc(a->rr[i].text)) {
            text = a->rr[i].text;
            n++;
        }
    if (n == 1)
        take_record(r, domain, text);
    if (a->status == DNS_FAILED) {
        p->failed = true;
        snprintf(p->why, sizeof p->why, "%.*s", (int)sizeof p->why - 1, a->why);
    }
    free(a);
}

static unsigned labels_of(const char *domain)
{
    unsigned n = 1;

    for (; *domain != '\0'; domain++)
        n += *domain == '.';
    return n;
}

/* RFC 9989 4.10: the domain, then those above it, at most 8 look-ups: of a
 * longer name the walk goes on with the last 7 labels.  psd=n is the
 * Organizational Domain, below psd=y is; else it is the shortest with a record.
 */
static void walk_tree(struct checking *k, const char *domain, struct policy *p)
{
    const char *at = domain, *below = domain;
    struct record r;

    ask_record(k, at, p, &p->own);
    p->org = p->own;
    while (!p->failed && p->org.psd[0] != 'n' &&
           (at = strchr(at, '.')) != NULL) {
        at++;
        while (labels_of(at) > TREE_MAX - 1)
            at = strchr(at, '.') + 1;
        ask_record(k, at, p, &r);
        if (r.domain[0] != '\0') {
            p->org = r;
            if (r.psd[0] == 'y')
                snprintf(p->org.domain, sizeof p->org.domain, "%s", below);
        }
        if (r.domain[0] != '\0' && (r.psd[0] == 'y' || r.psd[0] == 'n'))
            return;
        below = at;
    }
}

static bool is_below(const char *domain, const char *top)
{
    size_t n = strlen(domain), k = strlen(top);

    return n >= k && strcasecmp(domain + n - k, top) == 0 &&
           (n == k || domain[n - k - 1] == '.');
}

/* Identifier alignment: of one Organizational Domain, unless adkim=s. */
static bool is_signed(const struct checking *k, const char *domain,
                      const struct policy *p, bool strict)
{
    const struct conf_dkim_keys *keys = &k->conf->dkim.keys;

    for (size_t i = 0; i < keys->n; i++)
        if (strcasecmp(keys->item[i].domain, domain) == 0 ||
            (!strict && is_below(keys->item[i].domain, p->org.domain)))
            return true;
    return false;
}

static void say_policy(struct checking *k, const char *domain,
                       const struct policy *p)
{
    static const char sign[] = "sign with a key of that domain (dkim.keys): "
                               "SPF alone does not survive forwarding";
    bool own = p->own.domain[0] != '\0';
    const struct record *r = own ? &p->own : &p->org;
    const char *wish = own ? r->p : r->sp;

    if (p->failed)
        check_say(k, CHECK_WARNING, "see 'resolver'",
                  "DMARC of %s cannot be looked up now (%s)", domain, p->why);
    else if (r->domain[0] == '\0')
        check_say(k, CHECK_WARNING,
                  "make a TXT record \"v=DMARC1; p=none\" at _dmarc. of the "
                  "domain, then a stricter one",
                  "neither %s nor a domain above it has a DMARC record",
                  domain);
    else if (is_signed(k, domain, p, r->adkim[0] == 's'))
        check_say(k, CHECK_OK, NULL,
                  "mail of %s is signed in line with DMARC (%s of %s)", domain,
                  wish, r->domain);
    else
        check_say(
            k, strcasecmp(wish, "none") == 0 ? CHECK_WARNING : CHECK_FAULT,
            sign, "mail of %s has no signature in line with DMARC (%s of %s)",
            domain, wish, r->domain);
}

void check_dmarc(struct checking *k)
{
    const char *domain;

    for (size_t i = 0; (domain = check_domain(k, i)) != NULL; i++) {
        struct policy p = { .failed = false };
        walk_tree(k, domain, &p);
        say_policy(k, domain, &p);
    }
}
