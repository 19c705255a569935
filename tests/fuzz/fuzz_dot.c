/* fuzz_dot.c - the end-of-data codec.  The first octet says how the input is
 * cut into pieces and whether line ends are normalized. */
#include "fuzz.h"
#include "smtp/dot.h"

struct result {
    char *out;
    size_t n, used;
    struct smtp_dot_decoder d;
};

/* Each piece is decoded from and into memory of exactly the promised size. */
static struct result decode(struct span in, size_t piece, bool normalize)
{
    struct result r = { malloc(2 * in.n + 2), 0, 0, SMTP_DOT_DECODER_INIT };

    MUST(r.out != NULL);
    r.d.normalize = normalize;
    while (r.used < in.n && !r.d.ended) {
        size_t n = in.n - r.used < piece ? in.n - r.used : piece, used;
        char *from = exact_copy((const uint8_t *)in.p + r.used, n);
        char *to = malloc(2 * n + 2);
        MUST(to != NULL);
        struct span text = smtp_dot_decode(&r.d, from, n, &used, to);
        MUST(text.n <= 2 * n + 2 && used > 0 && used <= n);
        memcpy(r.out + r.n, text.p, text.n);
        r.n += text.n;
        r.used += used;
        free(from);
        free(to);
    }
    return r;
}

static void same(const struct result *a, const struct result *b)
{
    MUST(a->n == b->n && memcmp(a->out, b->out, a->n) == 0);
    MUST(a->used == b->used && a->d.ended == b->d.ended);
    MUST(a->d.bare_cr == b->d.bare_cr && a->d.bare_lf == b->d.bare_lf);
    MUST(a->d.state == b->d.state);
}

/* Ended, if and only if CRLF.CRLF stands there, and nowhere before. */
static void check_end(struct span in, const struct result *r)
{
    bool seen = false;
    size_t i;

    for (i = 0; i + 3 <= in.n && !seen; i++)
        seen = memcmp(in.p + i, ".\r\n", 3) == 0 &&
               (i == 0 || (i >= 2 && memcmp(in.p + i - 2, "\r\n", 2) == 0));
    MUST(r->d.ended == seen);
    MUST(r->used == (seen ? i + 2 : in.n));
}

static void check_no_lone(const struct result *r)
{
    for (size_t i = 0; i < r->n; i++) {
        MUST(r->out[i] != '\r' || (i + 1 < r->n && r->out[i + 1] == '\n'));
        MUST(r->out[i] != '\n' || (i > 0 && r->out[i - 1] == '\r'));
    }
}

static size_t encode(struct span in, size_t piece, char *out)
{
    struct smtp_dot_encoder s = SMTP_DOT_ENCODER_INIT;
    size_t put = 0;

    for (size_t at = 0; at < in.n; at += piece) {
        size_t n = in.n - at < piece ? in.n - at : piece;
        char *to = malloc(2 * n);
        MUST(to != NULL);
        size_t m = smtp_dot_encode(&s, in.p + at, n, to);
        MUST(m <= 2 * n);
        memcpy(out + put, to, m);
        put += m;
        free(to);
    }
    return put + smtp_dot_finish(&s, out + put);
}

static void round_trip(struct span in, size_t piece)
{
    char *wire = malloc(2 * in.n + 5);

    MUST(wire != NULL);
    size_t n = encode(in, piece, wire);
    struct result r = decode((struct span){ wire, n }, n, false);
    bool whole =
        in.n == 0 || (in.n >= 2 && memcmp(in.p + in.n - 2, "\r\n", 2) == 0);
    MUST(r.d.ended && r.used == n);
    MUST(r.n == in.n + (whole ? 0 : 2));
    MUST(in.n == 0 || memcmp(r.out, in.p, in.n) == 0);
    free(r.out);
    free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    char *copy = exact_copy(data + 1, n - 1);
    struct span in = { copy, n - 1 };
    size_t piece = (data[0] >> 1) % 32 + 1;
    bool normalize = data[0] & 1;

    struct result whole = decode(in, n, normalize);
    struct result parts = decode(in, piece, normalize);
    same(&whole, &parts);
    check_end(in, &whole);
    if (normalize && whole.d.ended)
        check_no_lone(&whole);
    round_trip(in, piece);
    free(whole.out);
    free(parts.out);
    free(copy);
    return 0;
}
