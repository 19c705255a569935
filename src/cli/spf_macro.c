/* spf_macro.c - macros of SPF records (RFC 7208 7). */
#include "cli/spf_private.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char delimiters[] = ".-+,/_=", in_domains[] = "slodiphv";

enum { PARTS_MAX = 300, VALUE_MAX = 1100, EXPANDED_MAX = 4096 };

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* --- syntax --------------------------------------------------------------- */

struct macro {
    char letter;
    unsigned keep; /* parts from the right; 0: all */
    bool reverse;
    struct span delimiters; /* empty: dots */
    size_t length;
};

/* "{d2r.}", behind its "%". */
static bool scan(struct macro *m, struct span text, const char *letters)
{
    size_t i = 2;

    *m = (struct macro){ .letter = text.n > 1 ? text.p[1] : '\0' };
    if (text.n < 3 || text.p[0] != '{' ||
        !is_one_of(ascii_lower(m->letter), letters))
        return false;
    for (; i < text.n && ascii_is_digit(text.p[i]); i++)
        if (m->keep < PARTS_MAX)
            m->keep = m->keep * 10 + (unsigned)(text.p[i] - '0');
    if (i > 2 && m->keep == 0)
        return false;
    if (i < text.n && ascii_lower(text.p[i]) == 'r') {
        m->reverse = true;
        i++;
    }
    m->delimiters.p = text.p + i;
    for (; i < text.n && is_one_of(text.p[i], delimiters); i++)
        m->delimiters.n++;
    m->length = i + 1;
    return i < text.n && text.p[i] == '}';
}

/* Behind a "%": the length of what belongs to it; 0: malformed. */
static size_t length_of(struct span text, const char *letters)
{
    struct macro m;

    if (text.n > 0 && is_one_of(text.p[0], "%_-"))
        return 1;
    return scan(&m, text, letters) ? m.length : 0;
}

/* Of a valid text the place behind its last macro; false: it is not valid. */
static bool walk(struct span text, const char *letters, size_t *behind)
{
    *behind = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%')
            continue;
        size_t n =
            length_of((struct span){ text.p + i + 1, text.n - i - 1 }, letters);
        if (n == 0)
            return false;
        i += n;
        *behind = i + 1;
    }
    return true;
}

bool spf_macros_valid(struct span text, const char *letters)
{
    size_t behind;

    return walk(text, letters, &behind);
}

/* Of letters and digits, not of digits alone; hyphens inside. */
static bool is_top_label(struct span s)
{
    bool digits = true;

    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
        digits &= ascii_is_digit(s.p[i]);
    }
    return s.n > 0 && !digits && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

/* It ends with a macro, or with a dot and a label. */
bool spf_domain_valid(struct span text)
{
    size_t behind, n = text.n;

    if (text.n == 0 || !walk(text, in_domains, &behind))
        return false;
    if (behind == n)
        return true;
    n -= text.p[n - 1] == '.';
    for (size_t i = n; i > behind; i--)
        if (text.p[i - 1] == '.')
            return is_top_label((struct span){ text.p + i, n - i });
    return false;
}

/* --- values --------------------------------------------------------------- */

static void add_ip(struct buf *b, const struct addr *ip)
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

/* The domain itself, else one below it, else any (RFC 7208 7.3). */
static const char *validated(struct spf_evaluation *x, const char *domain)
{
    const struct spf_names *names = spf_names(x);
    const char *best = names->n > 0 ? names->name[0] : "unknown";

    for (size_t i = 0; i < names->n; i++)
        if (strcasecmp(names->name[i], domain) == 0)
            return names->name[i];
    for (size_t i = names->n; i > 0; i--)
        if (spf_is_below(names->name[i - 1], domain))
            best = names->name[i - 1];
    return best;
}

static void add_value(struct buf *b, struct spf_evaluation *x, char letter,
                      const char *domain)
{
    switch (ascii_lower(letter)) {
    case 's': buf_addf(b, "postmaster@%s", x->domain); return;
    case 'l': buf_adds(b, "postmaster"); return;
    case 'o': buf_adds(b, x->domain); return;
    case 'd': buf_adds(b, domain); return;
    case 'i': add_ip(b, x->ip); return;
    case 'p': buf_adds(b, validated(x, domain)); return;
    case 'v': buf_adds(b, addr_is_v6(x->ip) ? "ip6" : "in-addr"); return;
    case 'h': buf_adds(b, x->helo); return;
    }
}

/* --- transformers --------------------------------------------------------- */

/* Split, turned, and of that the last ones, with dots. */
static void add_parts(struct buf *b, struct span value, const struct macro *m)
{
    struct span part[PARTS_MAX];
    size_t n = 0, k = 0;

    for (size_t i = 0; i <= value.n && n < PARTS_MAX; i++) {
        bool cut = i == value.n ||
                   (m->delimiters.n == 0 ? value.p[i] == '.'
                                         : memchr(m->delimiters.p, value.p[i],
                                                  m->delimiters.n) != NULL);
        if (!cut)
            continue;
        part[n++] = (struct span){ value.p + k, i - k };
        k = i + 1;
    }
    for (size_t i = m->keep == 0 || m->keep > n ? 0 : n - m->keep, from = i;
         i < n; i++) {
        if (i > from)
            buf_addc(b, '.');
        buf_add_span(b, part[m->reverse ? n - 1 - i : i]);
    }
}

/* RFC 3986 2.3 */
static void add_escaped(struct buf *b, struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (ascii_is_alnum(s.p[i]) || is_one_of(s.p[i], "-._~"))
            buf_addc(b, s.p[i]);
        else
            buf_addf(b, "%%%02X", (unsigned)(unsigned char)s.p[i]);
}

static void add_macro(struct buf *b, struct spf_evaluation *x,
                      const struct macro *m, const char *domain)
{
    char memory[VALUE_MAX], turned[VALUE_MAX];
    struct buf value = BUF_ON(memory), parts = BUF_ON(turned);

    add_value(&value, x, m->letter, domain);
    add_parts(&parts, buf_span(&value), m);
    if (m->letter == ascii_lower(m->letter))
        buf_add_span(b, buf_span(&parts));
    else
        add_escaped(b, buf_span(&parts));
    b->full |= value.full || parts.full;
}

/* Labels from the left go until it is a name (RFC 7208 7.3). */
static void shorten(char out[DNS_NAME_MAX], const char *name)
{
    size_t n = strlen(name);

    n -= n > 0 && name[n - 1] == '.';
    while (n > DNS_NAME_MAX - 3) {
        const char *dot = memchr(name, '.', n);
        size_t label = dot != NULL ? (size_t)(dot - name) + 1 : n;
        name += label;
        n -= label;
    }
    memcpy(out, name, n);
    out[n] = '\0';
}

bool spf_expand(char out[DNS_NAME_MAX], struct spf_evaluation *x,
                struct span text, const char *domain)
{
    char memory[EXPANDED_MAX];
    struct buf b = BUF_ON(memory);
    struct macro m;

    for (size_t i = 0; i < text.n; i++) {
        struct span rest = { text.p + i + 1, text.n - i - 1 };
        if (text.p[i] != '%') {
            buf_addc(&b, text.p[i]);
        } else if (scan(&m, rest, in_domains)) {
            add_macro(&b, x, &m, domain);
            i += m.length;
        } else if (rest.n > 0) {
            buf_adds(&b, rest.p[0] == '%'   ? "%"
                         : rest.p[0] == '_' ? " "
                                            : "%20");
            i++;
        }
    }
    shorten(out, memory);
    return !b.full;
}
