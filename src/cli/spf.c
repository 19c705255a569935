#include "cli/spf.h"

#include "base/buf.h"
#include "base/network.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LOOKUPS_MAX = 10, VOID_MAX = 2, HOSTS_MAX = 10, DEPTH_MAX = 12 };

struct evaluation {
    const struct spf_ask *ask;
    const struct addr *ip;
    const char *domain; /* of the sender, and of the macros s and o */
    const char *helo;
    unsigned lookups, voids, depth;
    char *why; /* the term that decided */
    size_t why_size;
};

static enum spf_result check_host(struct evaluation *x, const char *domain);

static enum spf_result fail_with(struct evaluation *x, enum spf_result r,
                                 const char *what, struct span term)
{
    snprintf(x->why, x->why_size, "%s%s%.*s", what, term.n > 0 ? ": " : "",
             (int)term.n, term.p);
    return r;
}

/* --- look-ups ------------------------------------------------------------- */

/* SPF_NONE: the answer is there; else the end of the evaluation. */
static enum spf_result look_up(struct evaluation *x, const char *name,
                               enum dns_type type, struct check_answer *a)
{
    x->ask->fn(x->ask->ctx, name, type, a);
    if (a->status == DNS_FAILED)
        return fail_with(x, SPF_TEMPERROR, a->why, span_of(""));
    if (a->n == 0 && ++x->voids > VOID_MAX)
        return fail_with(x, SPF_PERMERROR, "more than 2 look-ups find nothing",
                         span_of(name));
    return SPF_NONE;
}

/* RFC 7208 4.6.4: of terms that ask the DNS. */
static bool counts_on(struct evaluation *x)
{
    return ++x->lookups <= LOOKUPS_MAX;
}

static enum spf_result too_many(struct evaluation *x)
{
    return fail_with(x, SPF_PERMERROR, "more than 10 look-ups", span_of(""));
}

/* --- macros (RFC 7208 7) -------------------------------------------------- */

static void macro_ip(struct buf *b, const struct addr *ip)
{
    char text[ADDR_TEXT];
    unsigned char p[16];

    if (!addr_is_v6(ip)) {
        addr_text(text, ip);
        buf_adds(b, text);
        return;
    }
    addr_bytes(p, ip);
    for (int i = 0; i < 32; i++)
        buf_addf(b, "%s%x", i > 0 ? "." : "",
                 (unsigned)(i % 2 == 0 ? p[i / 2] >> 4 : p[i / 2] & 15));
}

static bool macro_value(struct buf *b, const struct evaluation *x, char letter,
                        const char *domain)
{
    switch (ascii_lower(letter)) {
    case 's': buf_addf(b, "postmaster@%s", x->domain); return true;
    case 'l': buf_adds(b, "postmaster"); return true;
    case 'o': buf_adds(b, x->domain); return true;
    case 'd': buf_adds(b, domain); return true;
    case 'i': macro_ip(b, x->ip); return true;
    case 'p': buf_adds(b, "unknown"); return true;
    case 'v': buf_adds(b, addr_is_v6(x->ip) ? "ip6" : "in-addr"); return true;
    case 'h': buf_adds(b, x->helo); return true;
    }
    return false;
}

/* The last `keep` parts of the value, perhaps in reverse, with dots. */
static void add_parts(struct buf *b, struct span value, unsigned keep,
                      bool reverse, const char *delimiters)
{
    struct span part[128];
    size_t n = 0, from;

    while (n < 128) {
        size_t k = 0;
        while (k < value.n && strchr(delimiters, value.p[k]) == NULL)
            k++;
        part[n++] = (struct span){ value.p, k };
        if (k == value.n)
            break;
        value.p += k + 1;
        value.n -= k + 1;
    }
    from = keep == 0 || keep > n ? 0 : n - keep;
    for (size_t i = from; i < n; i++) {
        if (i > from)
            buf_addc(b, '.');
        buf_add_span(b, reverse ? part[n - 1 - i] : part[i]);
    }
}

/* "{ir}" and so on, without the "%"; *text moves behind it. */
static bool expand_one(struct buf *b, const struct evaluation *x,
                       struct span *text, const char *domain)
{
    char memory[256], delimiters[8] = ".";
    struct buf value = BUF_ON(memory);
    size_t end = span_find(*text, '}'), i = 2, nd = 0;
    unsigned keep = 0;
    bool reverse = false;

    if (end == text->n || end < 2 || text->p[0] != '{' ||
        !macro_value(&value, x, text->p[1], domain))
        return false;
    for (; i < end && ascii_is_digit(text->p[i]); i++)
        keep = keep * 10 + (unsigned)(text->p[i] - '0');
    if (i < end && ascii_lower(text->p[i]) == 'r') {
        reverse = true;
        i++;
    }
    for (; i < end && nd < sizeof delimiters - 1; i++)
        delimiters[nd++] = text->p[i];
    if (nd > 0)
        delimiters[nd] = '\0';
    /* reversed, the last parts are the first ones of the value */
    if (reverse) {
        char turned[256];
        struct buf all = BUF_ON(turned);
        add_parts(&all, buf_span(&value), 0, true, delimiters);
        add_parts(b, buf_span(&all), keep, false, ".");
    } else {
        add_parts(b, buf_span(&value), keep, false, delimiters);
    }
    text->p += end + 1;
    text->n -= end + 1;
    return true;
}

static bool expand(char *out, size_t size, const struct evaluation *x,
                   struct span text, const char *domain)
{
    struct buf b;

    buf_init(&b, out, size);
    while (text.n > 0) {
        char c = *text.p++;
        text.n--;
        if (c != '%') {
            buf_addc(&b, c);
        } else if (text.n > 0 && strchr("%_-", text.p[0]) != NULL) {
            buf_adds(&b, text.p[0] == '%'   ? "%"
                         : text.p[0] == '_' ? " "
                                            : "%20");
            text.p++;
            text.n--;
        } else if (!expand_one(&b, x, &text, domain)) {
            return false;
        }
    }
    return !b.full && b.n > 0;
}

/* --- mechanisms ----------------------------------------------------------- */

struct term {
    struct span name, value; /* value: behind ":"; empty: none */
    unsigned v4, v6;         /* lengths of prefixes */
    struct span whole;
};

static bool in_prefix(const struct addr *ip, const struct addr *a,
                      const struct term *t)
{
    unsigned bits = addr_is_v6(a) ? t->v6 : t->v4;
    struct net_cidr n = { *a, bits };

    return addr_is_v6(a) == addr_is_v6(ip) && net_cidr_has(&n, ip);
}

static enum spf_result match_addresses(struct evaluation *x, const char *name,
                                       const struct term *t, bool *matches)
{
    struct check_answer *a = malloc(sizeof *a);

    if (a == NULL)
        return SPF_TEMPERROR;
    enum spf_result r =
        look_up(x, name, addr_is_v6(x->ip) ? DNS_AAAA : DNS_A, a);
    for (size_t i = 0; r == SPF_NONE && i < a->n; i++)
        *matches |= in_prefix(x->ip, &a->rr[i].addr, t);
    free(a);
    return r;
}

/* RFC 7208 4.6.4: at most 10 hosts, which are no look-ups of the 10. */
static enum spf_result match_mx(struct evaluation *x, const char *name,
                                const struct term *t, bool *matches)
{
    struct check_answer *a = malloc(sizeof *a);

    if (a == NULL)
        return SPF_TEMPERROR;
    enum spf_result r = look_up(x, name, DNS_MX, a);
    if (r == SPF_NONE && a->n > HOSTS_MAX)
        r = fail_with(x, SPF_PERMERROR, "more than 10 MX records", t->whole);
    for (size_t i = 0; r == SPF_NONE && i < a->n && !*matches; i++)
        if (a->rr[i].name[0] != '\0')
            r = match_addresses(x, a->rr[i].name, t, matches);
    free(a);
    return r;
}

static enum spf_result match_exists(struct evaluation *x, const char *name,
                                    bool *matches)
{
    struct check_answer *a = malloc(sizeof *a);

    if (a == NULL)
        return SPF_TEMPERROR;
    enum spf_result r = look_up(x, name, DNS_A, a);
    *matches = r == SPF_NONE && a->n > 0;
    free(a);
    return r;
}

static enum spf_result match_include(struct evaluation *x, const char *name,
                                     const struct term *t, bool *matches)
{
    enum spf_result r = check_host(x, name);

    *matches = r == SPF_PASS;
    if (r == SPF_TEMPERROR || r == SPF_PERMERROR)
        return r;
    return r == SPF_NONE ? fail_with(x, SPF_PERMERROR,
                                     "includes a domain without SPF", t->whole)
                         : SPF_NONE;
}

static enum spf_result match_ip(struct evaluation *x, const struct term *t,
                                bool v6, bool *matches)
{
    struct addr a;

    if (!addr_parse_ip(&a, t->value, 0) || addr_is_v6(&a) != v6)
        return fail_with(x, SPF_PERMERROR, "not an address", t->whole);
    *matches = in_prefix(x->ip, &a, t);
    return SPF_NONE;
}

/* SPF_NONE: *matches has the answer. */
static enum spf_result match(struct evaluation *x, const struct term *t,
                             const char *domain, bool *matches)
{
    char name[DNS_NAME_MAX];

    *matches = false;
    if (span_is_nocase(t->name, "all")) {
        *matches = true;
        return SPF_NONE;
    }
    if (span_is_nocase(t->name, "ip4") || span_is_nocase(t->name, "ip6"))
        return match_ip(x, t, span_is_nocase(t->name, "ip6"), matches);
    if (!counts_on(x))
        return too_many(x);
    if (t->value.n == 0)
        snprintf(name, sizeof name, "%s", domain);
    else if (!expand(name, sizeof name, x, t->value, domain))
        return fail_with(x, SPF_PERMERROR, "malformed", t->whole);
    if (span_is_nocase(t->name, "a"))
        return match_addresses(x, name, t, matches);
    if (span_is_nocase(t->name, "mx"))
        return match_mx(x, name, t, matches);
    if (span_is_nocase(t->name, "include") && t->value.n > 0)
        return match_include(x, name, t, matches);
    if (span_is_nocase(t->name, "exists") && t->value.n > 0)
        return match_exists(x, name, matches);
    if (span_is_nocase(t->name, "ptr")) /* RFC 7208 5.5: do not use it */
        return SPF_NONE;
    return fail_with(x, SPF_PERMERROR, "unknown mechanism", t->whole);
}

/* --- records -------------------------------------------------------------- */

static bool take_prefix(struct span *text, unsigned most, unsigned *out)
{
    unsigned long long n;
    size_t k = 1;

    if (text->n < 2 || text->p[0] != '/' || text->p[1] == '/')
        return true;
    while (k < text->n && ascii_is_digit(text->p[k]))
        k++;
    if (!span_u64((struct span){ text->p + 1, k - 1 }, most, &n))
        return false;
    *out = (unsigned)n;
    text->p += k;
    text->n -= k;
    return true;
}

/* "name:value/24//64" */
static bool parse_term(struct term *t, struct span s)
{
    size_t n = 0, slash;

    t->whole = s;
    while (n < s.n && s.p[n] != ':' && s.p[n] != '/')
        n++;
    t->name = (struct span){ s.p, n };
    s.p += n;
    s.n -= n;
    t->value = (struct span){ s.p, 0 };
    if (s.n > 0 && s.p[0] == ':') {
        slash = span_find(s, '/');
        t->value = (struct span){ s.p + 1, slash - 1 };
        s.p += slash;
        s.n -= slash;
    }
    t->v4 = 32;
    t->v6 = 128;
    if (span_is_nocase(t->name, "ip6"))
        return take_prefix(&s, 128, &t->v6) && s.n == 0;
    if (!take_prefix(&s, 32, &t->v4))
        return false;
    if (s.n > 1 && s.p[0] == '/' && s.p[1] == '/') {
        s.p++;
        s.n--;
        if (!take_prefix(&s, 128, &t->v6))
            return false;
    }
    return s.n == 0;
}

static struct span next_word(struct span *rest)
{
    while (rest->n > 0 && rest->p[0] == ' ') {
        rest->p++;
        rest->n--;
    }
    size_t n = span_find(*rest, ' ');
    struct span word = { rest->p, n };
    rest->p += n;
    rest->n -= n;
    return word;
}

static enum spf_result result_of(char qualifier)
{
    return qualifier == '-'   ? SPF_FAIL
           : qualifier == '~' ? SPF_SOFTFAIL
           : qualifier == '?' ? SPF_NEUTRAL
                              : SPF_PASS;
}

/* A modifier has "=" in front of any ":" and "/". */
static bool is_modifier(struct span word)
{
    size_t n = span_find(word, '=');

    return n < word.n && n < span_find(word, ':') && n < span_find(word, '/');
}

static enum spf_result redirect(struct evaluation *x, struct span to,
                                const char *domain)
{
    char name[DNS_NAME_MAX];

    if (!counts_on(x))
        return too_many(x);
    if (!expand(name, sizeof name, x, to, domain))
        return fail_with(x, SPF_PERMERROR, "malformed redirect", to);
    enum spf_result r = check_host(x, name);
    return r == SPF_NONE ? fail_with(x, SPF_PERMERROR,
                                     "redirects to a domain without SPF", to)
                         : r;
}

static enum spf_result evaluate(struct evaluation *x, struct span rest,
                                const char *domain)
{
    struct span to = { NULL, 0 }, word;
    struct term t;
    bool matches;

    while ((word = next_word(&rest)).n > 0) {
        char qualifier = '+';
        if (is_modifier(word)) {
            if (span_starts_nocase(word, "redirect="))
                to = (struct span){ word.p + 9, word.n - 9 };
            continue;
        }
        if (strchr("+-~?", word.p[0]) != NULL) {
            qualifier = *word.p++;
            word.n--;
        }
        if (!parse_term(&t, word))
            return fail_with(x, SPF_PERMERROR, "malformed", word);
        enum spf_result r = match(x, &t, domain, &matches);
        if (r != SPF_NONE)
            return r;
        if (matches)
            return fail_with(x, result_of(qualifier), "by", t.whole);
    }
    return to.p != NULL ? redirect(x, to, domain)
                        : fail_with(x, SPF_NEUTRAL, "no term of it matches",
                                    span_of(""));
}

static bool is_spf(const char *text)
{
    static const char version[] = "v=spf1";
    size_t n = sizeof version - 1;

    return strncasecmp(text, version, n) == 0 &&
           (text[n] == ' ' || text[n] == '\0');
}

static enum spf_result check_host(struct evaluation *x, const char *domain)
{
    struct check_answer *a = malloc(sizeof *a);
    const char *record = NULL;
    unsigned n = 0;
    enum spf_result r;

    if (a == NULL || x->depth == DEPTH_MAX) {
        free(a);
        return fail_with(x, SPF_PERMERROR, "includes itself", span_of(domain));
    }
    x->depth++;
    x->ask->fn(x->ask->ctx, domain, DNS_TXT, a);
    for (size_t i = 0; i < a->n; i++)
        if (is_spf(a->rr[i].text)) {
            record = a->rr[i].text;
            n++;
        }
    if (a->status == DNS_FAILED)
        r = fail_with(x, SPF_TEMPERROR, a->why, span_of(""));
    else if (n > 1)
        r = fail_with(x, SPF_PERMERROR, "more than one SPF record",
                      span_of(domain));
    else if (n == 0)
        r = SPF_NONE;
    else
        r = evaluate(x, span_of(record + 6), domain);
    x->depth--;
    free(a);
    return r;
}

enum spf_result spf_check(const struct spf_ask *ask, const struct addr *ip,
                          const char *domain, const char *helo,
                          struct spf_why *why)
{
    struct evaluation x = { .ask = ask,
                            .ip = ip,
                            .domain = domain,
                            .helo = helo,
                            .why = why->text,
                            .why_size = sizeof why->text };

    why->text[0] = '\0';
    return check_host(&x, domain);
}
