#include "smtp/dot.h"

#include <string.h>

/* States of the decoder, named after the last octets. */
enum {
    LINE_START,
    IN_LINE,
    AFTER_CR,
    AFTER_LF, /* a bare LF */
    AFTER_DOT,
    AFTER_DOT_CR,
    AFTER_NUL /* nothing but NULs since the line began */
};

/* A CR that no LF follows. */
static char *bare_cr(struct smtp_dot_decoder *d, char *to)
{
    d->bare_cr = true;
    *to++ = '\r';
    if (d->normalize)
        *to++ = '\n';
    return to;
}

static char *bare_lf(struct smtp_dot_decoder *d, char *to)
{
    d->bare_lf = true;
    if (d->normalize)
        *to++ = '\r';
    *to++ = '\n';
    return to;
}

/* Count ordinary octets from p up to the next CR or LF.  Search for the LF
 * first, because the CR nearly always stands right before it.  *lf, NULL at
 * first, caches its place for the runs that follow; otherwise a flood of bare
 * CRs would make each run search the same octets. */
static size_t run_length(const char *p, const char *end, const char **lf)
{
    if (*lf == NULL || *lf < p) {
        *lf = memchr(p, '\n', (size_t)(end - p));
        if (*lf == NULL)
            *lf = end;
    }
    size_t run = (size_t)(*lf - p);
    const char *cr = run == 0 ? NULL : memchr(p, '\r', run);

    return cr == NULL ? run : (size_t)(cr - p);
}

/* A dot and a NUL are special at the start of a line. */
static bool is_ordinary(const struct smtp_dot_decoder *d, char c)
{
    return d->state == IN_LINE ||
           (d->state == LINE_START && c != '.' && c != '\0');
}

/* The state behind c, an octet of the text.  AFTER_NUL finds a dot behind NULs
 * at the start of a line, which would be the first octet of the line for a
 * server that drops NULs.  A bare LF begins no line unless it is normalized. */
static unsigned char behind(const struct smtp_dot_decoder *d, char c)
{
    switch (c) {
    case '\r': return AFTER_CR;
    case '\n': return AFTER_LF;
    case '\0': return d->state == IN_LINE ? IN_LINE : AFTER_NUL;
    default: return IN_LINE;
    }
}

/* Decode one octet that is not ordinary. */
static char *special(struct smtp_dot_decoder *d, char c, char *to)
{
    switch (d->state) {
    case AFTER_CR:
        if (c == '\n') {
            *to++ = '\r';
            *to++ = '\n';
            d->state = LINE_START;
            return to;
        }
        to = bare_cr(d, to);
        break; /* then c itself, as part of the line */
    case AFTER_DOT_CR:
        if (c == '\n') {
            d->ended = true;
            return to;
        }
        /* ".CR" without LF: the dot is stuffing here, too. */
        to = bare_cr(d, to);
        break;
    case AFTER_DOT:
        if (c == '\r') {
            d->state = AFTER_DOT_CR;
            return to;
        }
        break;
    case LINE_START:
        if (c == '.') {
            d->state = AFTER_DOT;
            return to;
        }
        break;
    case AFTER_NUL: d->nul_dot = d->nul_dot || c == '.'; break;
    default: break;
    }
    d->state = behind(d, c);
    if (c == '\n')
        return bare_lf(d, to);
    if (c != '\r')
        *to++ = c;
    return to;
}

/* The length of the text that needs no decoding: lines that end in CRLF and
 * begin with neither dot nor NUL, and the beginning of one more. */
static size_t plain_length(struct smtp_dot_decoder *d, const char *in, size_t n,
                           const char **lf)
{
    size_t i = 0;

    while (i < n && is_ordinary(d, in[i])) {
        size_t run = run_length(in + i, in + n, lf);
        i += run;
        if (run > 0)
            d->state = IN_LINE;
        if (n - i < 2 || in[i] != '\r' || in[i + 1] != '\n')
            break;
        i += 2;
        d->state = LINE_START;
    }
    return i;
}

/* Decode the rest, from the first line that is not plain, into one piece: each
 * piece is one more vector when the message is written to disk. */
static struct span rewrite(struct smtp_dot_decoder *d, const char *in, size_t n,
                           size_t *used, char *out)
{
    const char *lf = NULL;
    char *to = out;
    size_t i = 0;

    do {
        size_t run = plain_length(d, in + i, n - i, &lf);
        memcpy(to, in + i, run);
        to += run;
        i += run;
        if (i < n)
            to = special(d, in[i++], to);
    } while (i < n && !d->ended);
    *used = i;
    return (struct span){ out, (size_t)(to - out) };
}

struct span smtp_dot_decode(struct smtp_dot_decoder *d, const char *in,
                            size_t n, size_t *used, char *out)
{
    const char *lf = NULL;

    if (n == 0 || d->ended) {
        *used = 0;
        return (struct span){ out, 0 };
    }
    *used = plain_length(d, in, n, &lf);
    if (*used > 0)
        return (struct span){ in, *used };
    return rewrite(d, in, n, used, out);
}

size_t smtp_dot_encode(struct smtp_dot_encoder *s, const char *in, size_t n,
                       char *out)
{
    char *to = out;

    for (size_t i = 0; i < n;) {
        if (!s->line_started && in[i] == '.')
            *to++ = '.';
        const char *lf = memchr(in + i, '\n', n - i);
        size_t run = lf == NULL ? n - i : (size_t)(lf - (in + i)) + 1;
        memcpy(to, in + i, run);
        to += run;
        bool cr = run >= 2 ? in[i + run - 2] == '\r' : s->last_cr;
        s->line_started = !(lf != NULL && cr);
        i += run;
        s->last_cr = in[i - 1] == '\r';
    }
    return (size_t)(to - out);
}

size_t smtp_dot_finish(struct smtp_dot_encoder *s, char out[5])
{
    size_t n = s->line_started ? 2 : 0;

    memcpy(out, "\r\n", n);
    memcpy(out + n, ".\r\n", 3);
    return n + 3;
}
