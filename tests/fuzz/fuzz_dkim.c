/* fuzz_dkim.c - the canonicalisations of DKIM and the header of a message
 * against a second implementation, which has all of the text at once; the
 * domain of From.  The first octet says how the input is cut. */
#include "fuzz.h"

#include "base/buf.h"
#include "mail/dkim_body.h"
#include "mail/dkim_canon.h"
#include "mail/dkim_header.h"

/* --- the second opinion: RFC 6376 3.4, rule by rule ------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Up to the next CRLF, without it; *rest is what follows. */
static struct span take_line(struct span *rest, bool *ended)
{
    struct span line = { rest->p, 0 };

    while (line.n < rest->n &&
           !(rest->p[line.n] == '\r' && line.n + 1 < rest->n &&
             rest->p[line.n + 1] == '\n'))
        line.n++;
    *ended = line.n < rest->n;
    size_t used = line.n + (*ended ? 2 : 0);
    *rest = (struct span){ rest->p + used, rest->n - used };
    return line;
}

/* "Reduce all sequences of WSP within a line to a single SP." */
static size_t reduce(char *out, struct span s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        if (!is_blank(s.p[i]))
            out[n++] = s.p[i];
        else if (n == 0 || i == 0 || !is_blank(s.p[i - 1]))
            out[n++] = ' ';
    return n;
}

static size_t relaxed_body(char *out, struct span rest)
{
    size_t n = 0, end = 0;
    bool ended;

    while (rest.n > 0) {
        struct span line = take_line(&rest, &ended);
        while (line.n > 0 && is_blank(line.p[line.n - 1]))
            line.n--;
        size_t got = reduce(out + n, line);
        n += got;
        out[n++] = '\r';
        out[n++] = '\n';
        if (got > 0)
            end = n; /* empty lines at the end are ignored */
    }
    return end;
}

static size_t relaxed_value(char *out, struct span s)
{
    char *flat = malloc(s.n + 1);
    size_t n = 0;
    bool ended;

    while (s.n > 0) {
        struct span line = take_line(&s, &ended);
        memcpy(flat + n, line.p, line.n);
        n += line.n;
    }
    n = reduce(out, span_trim((struct span){ flat, n }));
    free(flat);
    return n;
}

/* The first octet of the body, and how many From fields there are. */
static size_t find_body(struct span all, unsigned *nfrom)
{
    struct span rest = all, line;
    bool ended;

    *nfrom = 0;
    while (rest.n > 0) {
        line = take_line(&rest, &ended);
        if (line.n == 0 && ended)
            return all.n - rest.n;
        size_t colon = span_find(line, ':');
        if (colon < line.n && !is_blank(line.p[0]))
            *nfrom += span_is_nocase(span_trim((struct span){ line.p, colon }),
                                     "from");
    }
    return all.n;
}

/* --- the comparison --------------------------------------------------------- */

static void keep(void *ctx, const char *p, size_t n)
{
    buf_add(ctx, p, n);
}

typedef void canon_fn(struct dkim_canon *c, const char *p, size_t n);
typedef void end_fn(struct dkim_canon *c);

static void compare(struct span text, size_t step, canon_fn *fn, end_fn *end,
                    size_t (*second)(char *, struct span))
{
    size_t room = 2 * text.n + 8;
    char *want = malloc(room), *got = malloc(room);
    struct buf b;
    struct dkim_canon c = { .put = keep, .ctx = &b };

    buf_init(&b, got, room);
    for (size_t at = 0; at < text.n; at += step)
        fn(&c, text.p + at, text.n - at < step ? text.n - at : step);
    end(&c);
    size_t n = second(want, text);
    if (b.full || b.n != n || memcmp(got, want, n) != 0)
        abort();
    free(want);
    free(got);
}

static void compare_header(struct span text, size_t step)
{
    struct dkim_header h = { .nfrom = 0 };
    char domain[IDN_MAX];
    unsigned nfrom;
    size_t used = 0;

    while (used < text.n && !h.ended)
        used += dkim_header_scan(&h, text.p + used,
                                 text.n - used < step ? text.n - used : step);
    dkim_header_end(&h);
    if (h.at != used || used != find_body(text, &nfrom) || h.nfrom != nfrom)
        abort();
    if (h.nfrom > 0) {
        if (h.from.at + h.from.n > used)
            abort();
        struct span value = { text.p + h.from.at, (size_t)h.from.n };
        const char *why = dkim_from_domain(domain, value);
        if ((why == NULL) != (domain[0] != '\0'))
            abort();
    }
}

/* The hash of what follows the header is that of the body alone. */
static void compare_hash(struct span text, size_t step)
{
    unsigned char one[DIGEST_SIZE], two[DIGEST_SIZE];
    struct dkim_body *a = NULL, *b = NULL;
    unsigned nfrom;
    size_t body = find_body(text, &nfrom);
    struct err e;

    if (dkim_body_new(&a, &e) != 0 || dkim_body_new(&b, &e) != 0)
        abort();
    for (size_t at = 0; at < text.n; at += step)
        dkim_body_add(a, text.p + at, text.n - at < step ? text.n - at : step);
    dkim_body_skip_header(b);
    dkim_body_add(b, text.p + body, text.n - body);
    if (!dkim_body_end(a, one) || !dkim_body_end(b, two) ||
        memcmp(one, two, sizeof one) != 0)
        abort();
    dkim_body_free(&a);
    dkim_body_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct span text = { (const char *)data + 1, size - 1 };
    size_t step = data[0] == 0 ? text.n : data[0];

    compare(text, step, dkim_canon_body, dkim_canon_body_end, relaxed_body);
    compare(text, step, dkim_canon_value, dkim_canon_value_end, relaxed_value);
    compare_header(text, step);
    compare_hash(text, step);
    return 0;
}
