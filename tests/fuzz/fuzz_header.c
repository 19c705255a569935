/* fuzz_header.c - the header of a message: counted while it streams by, and
 * returned in notices.  The first octet says how the input is cut. */
#include "fuzz.h"

#include "base/chain.h"
#include "mail/dsn_returned.h"
#include "mail/header_scan.h"

enum { LINE_MAX = 998, OUT_MAX = 4 * DSN_HEADER_MAX };

/* --- a second opinion, line by line ---------------------------------------- */

struct opinion {
    unsigned received;
    bool ended, eight_bit;
};

static bool is_name(char c)
{
    return c > ' ' && c <= '~' && c != ':';
}

/* The length of a field's name with the blanks behind it, if a colon follows;
 * -1: no field; -2: it may become one. */
static long name_of(struct span line, size_t *name)
{
    size_t i = 0;

    while (i < line.n && is_name(line.p[i]))
        i++;
    *name = i;
    while (i > 0 && i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++;
    if (i == line.n)
        return -2;
    return i > 0 && line.p[i] == ':' ? (long)i : -1;
}

static bool has_high(struct span s, size_t from)
{
    for (; from < s.n; from++)
        if (((unsigned char)s.p[from] & 0x80) != 0)
            return true;
    return false;
}

static struct opinion opinion(struct span rest)
{
    struct opinion o = { 0, false, false };
    bool first = true;
    size_t name;

    for (; rest.n > 0; first = false) {
        size_t n = span_find(rest, '\n');
        struct span line = { rest.p, n };
        rest.p += n + (n < rest.n);
        rest.n -= n + (n < rest.n);
        if (!first && n > 0 && (*line.p == ' ' || *line.p == '\t')) {
            o.eight_bit |= has_high(line, 1);
            continue;
        }
        bool whole = line.p + n < rest.p || rest.n > 0;
        long at = name_of(line, &name);
        size_t looked = at == -2 && !whole ? line.n
                        : at < 0           ? 0
                                           : (size_t)at + 1;
        if (first && looked > HEADER_FIRST_MAX) {
            o.ended = true; /* too long for a name: there is no header */
            return o;
        }
        if (n == 1 && *line.p == '\r' && !whole)
            return o; /* it may be the empty line */
        if (at == -2 && !whole)
            return o;
        if (at < 0) {
            o.ended = true;
            return o;
        }
        o.received += span_is_nocase((struct span){ line.p, name }, "received");
        o.eight_bit |= has_high(line, (size_t)at);
    }
    return o;
}

static void check_scan(struct span in, size_t piece)
{
    struct header_scan h = HEADER_SCAN_INIT;
    struct opinion o = opinion(in);

    for (size_t at = 0; at < in.n; at += piece)
        header_scan(&h, in.p + at, in.n - at < piece ? in.n - at : piece);
    MUST(h.received == o.received && h.ended == o.ended &&
         h.eight_bit == o.eight_bit);
}

/* --- what a notice returns ---------------------------------------------------- */

static char out[OUT_MAX];
static size_t out_n;

static bool take(void *ctx, const char *p, size_t n)
{
    (void)ctx;
    MUST(n <= sizeof out - out_n);
    memcpy(out + out_n, p, n);
    out_n += n;
    return true;
}

/* Lines that anybody can take, whatever came in. */
static void check_lines(void)
{
    size_t line = 0;

    for (size_t i = 0; i < out_n; i++) {
        MUST(out[i] != '\0');
        MUST((out[i] == '\n') == (i > 0 && out[i - 1] == '\r'));
        line = out[i] == '\n' ? 0 : line + 1;
        MUST(line <= LINE_MAX + 1);
    }
    MUST(out_n == 0 || out[out_n - 1] == '\n');
}

static void check_whole(struct span in, const struct dsn_original *r,
                        struct dsn_out *o, const struct body *b)
{
    bool fits = in.n == 0 || in.p[in.n - 1] != '\r', high = has_high(in, 0);
    size_t line = 0;

    for (size_t i = 0; i < in.n; i++) {
        fits = fits && in.p[i] != '\0' &&
               (in.p[i] == '\n') == (i > 0 && in.p[i - 1] == '\r');
        line++;
        fits = fits && line <= LINE_MAX + 2;
        line = in.p[i] == '\n' ? 0 : line;
    }
    MUST(r->whole_fits == fits && r->body_eight_bit == high);
    out_n = 0;
    MUST(dsn_put_whole(o, b) == 0 && dsn_flush(o));
    MUST(out_n == in.n && memcmp(out, in.p, in.n) == 0);
}

static void check_original(struct span in)
{
    static struct pool *pool;
    struct chain c = CHAIN_INIT;
    struct dsn_original r, brief;
    struct dsn_out o = { .sink = take };

    if (pool == NULL)
        pool = chain_pool_new(512);
    MUST(pool != NULL && chain_add(&c, pool, in.p, in.n));
    struct body b = body_of_chain(&c, 0);
    MUST(dsn_look(&r, &b, true) == 0 && dsn_look(&brief, &b, false) == 0);
    MUST(r.header_n == brief.header_n && r.header_n <= in.n);
    MUST(r.header_n <= DSN_HEADER_MAX);
    MUST(r.header_n == 0 || r.header_n == in.n || in.p[r.header_n - 1] == '\n');
    out_n = 0;
    MUST(dsn_put_header(&o, &b, &r) == 0 && dsn_flush(&o));
    check_lines();
    check_whole(in, &r, &o, &b);
    chain_clear(&c, pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > DSN_HEADER_MAX)
        return 0;
    char *copy = exact_copy(data + 1, n - 1);
    struct span in = { copy, n - 1 };

    check_scan(in, data[0] % 32 + 1);
    check_scan(in, n);
    check_original(in);
    free(copy);
    return 0;
}
