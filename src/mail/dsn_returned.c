#include "mail/dsn_returned.h"

#include "mail/header_scan.h"

#include <errno.h>
#include <string.h>

enum {
    PIECE = 8192,
    TEXT_LINE_MAX = 998,
    FOLD_AT = 900,
    UTF8_MAX = 4,
    QUOTED_LINE = 75 /* with "=" behind it 76 */
};

/* --- the way out -------------------------------------------------------- */

bool dsn_flush(struct dsn_out *o)
{
    if (o->n > 0 && !o->failed && !o->sink(o->ctx, o->memory, o->n))
        o->failed = true;
    o->n = 0;
    return !o->failed;
}

static void put_plain(struct dsn_out *o, const char *p, size_t n)
{
    while (n > 0 && !o->failed) {
        size_t part = sizeof o->memory - o->n;
        part = n < part ? n : part;
        memcpy(o->memory + o->n, p, part);
        o->n += part;
        p += part;
        n -= part;
        if (o->n == sizeof o->memory)
            dsn_flush(o);
    }
}

/* An octet as it is, or as "=C3"; a line has at most 76 of them. */
static void put_quoted(struct dsn_out *o, char c, bool plain)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char u = (unsigned char)c;
    const char code[3] = { '=', digits[u >> 4], digits[u & 15] };
    unsigned n = plain ? 1 : 3;

    if (o->column + n > QUOTED_LINE) {
        put_plain(o, "=\r\n", 3);
        o->column = 0;
    }
    put_plain(o, plain ? &c : code, n);
    o->column = (unsigned char)(o->column + n);
}

/* A blank is kept back, because at the end of a line it has to be encoded. */
static void put_blank(struct dsn_out *o, bool at_end)
{
    if (o->blank != 0)
        put_quoted(o, (char)o->blank, !at_end);
    o->blank = 0;
}

static void quote_octet(struct dsn_out *o, char c)
{
    if (c == '\r')
        return; /* only in front of LF */
    put_blank(o, c == '\n');
    if (c == '\n') {
        put_plain(o, "\r\n", 2);
        o->column = 0;
    } else if (c == ' ' || c == '\t') {
        o->blank = (unsigned char)c;
    } else {
        put_quoted(o, c, c > ' ' && c <= '~' && c != '=');
    }
}

void dsn_put(struct dsn_out *o, const char *p, size_t n)
{
    if (!o->quoted) {
        put_plain(o, p, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        quote_octet(o, p[i]);
}

void dsn_quote(struct dsn_out *o, bool on)
{
    put_blank(o, true);
    o->quoted = on;
    o->column = 0;
}

/* --- scanning ----------------------------------------------------------- */

struct original_scan {
    struct header_scan scan;
    uint64_t at, line; /* this octet; where its line began */
    uint64_t header_end;
    bool ended, eight_bit, unfit;
    char last;
};

static void scan_octet(struct original_scan *l, char c)
{
    bool was_cr = l->last == '\r';

    if (!l->ended) {
        header_scan(&l->scan, &c, 1);
        if (l->scan.ended || l->at >= DSN_HEADER_MAX) {
            l->ended = true;
            l->header_end = l->line;
        }
    }
    l->eight_bit |= ((unsigned char)c & 0x80) != 0;
    l->unfit |= c == '\0' || was_cr != (c == '\n');
    l->last = c;
    l->at++;
    l->unfit |= l->at - l->line > TEXT_LINE_MAX + 2;
    if (c == '\n')
        l->line = l->at;
}

int dsn_look(struct dsn_original *r, const struct body *b, bool all)
{
    struct original_scan l = { .scan = HEADER_SCAN_INIT };
    struct body_cursor c = { 0 };
    char piece[PIECE];
    ssize_t n = 1;

    while (n > 0 && (all || !l.ended)) {
        n = body_next(b, &c, piece, sizeof piece);
        l.unfit |= n < 0 && errno == EBADMSG; /* then its header is enough */
        if (n < 0 && errno != EBADMSG)
            return -1;
        for (ssize_t i = 0; i < n; i++)
            scan_octet(&l, piece[i]);
    }
    r->header_n = l.ended ? l.header_end : l.at;
    r->header_eight_bit = l.scan.eight_bit;
    r->body_eight_bit = l.eight_bit;
    r->whole_fits = !l.unfit && l.last != '\r';
    return 0;
}

/* --- writing ------------------------------------------------------------ */

struct lines {
    struct dsn_out *o;
    size_t column;
    bool cr;
};

static void end_line(struct lines *l)
{
    dsn_put(l->o, "\r\n", 2);
    l->column = 0;
}

static void put_octet(struct lines *l, char c)
{
    /* Never split a UTF-8 sequence; a longer run of octets is none. */
    if (l->column >= FOLD_AT && (((unsigned char)c & 0xc0) != 0x80 ||
                                 l->column >= FOLD_AT + UTF8_MAX)) {
        end_line(l);
        dsn_put(l->o, " ", 1);
        l->column = 1;
    }
    c = c == '\0' ? '?' : c;
    dsn_put(l->o, &c, 1);
    l->column++;
}

static void take_octet(struct lines *l, char c)
{
    if (l->cr && c != '\n')
        put_octet(l, ' ');
    l->cr = c == '\r';
    if (c == '\n')
        end_line(l);
    else if (c != '\r')
        put_octet(l, c);
}

int dsn_put_header(struct dsn_out *o, const struct body *b,
                   const struct dsn_original *r)
{
    struct lines l = { o, 0, false };
    char piece[PIECE];

    for (uint64_t at = 0; at < r->header_n;) {
        uint64_t left = r->header_n - at;
        ssize_t n = body_read(
            b, at, piece, left < sizeof piece ? (size_t)left : sizeof piece);
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        for (ssize_t i = 0; i < n; i++)
            take_octet(&l, piece[i]);
        at += (uint64_t)n;
    }
    if (l.column > 0)
        end_line(&l);
    return 0;
}

int dsn_put_whole(struct dsn_out *o, const struct body *b)
{
    char piece[PIECE];

    for (uint64_t at = 0; at < b->size;) {
        ssize_t n = body_read(b, at, piece, sizeof piece);
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        dsn_put(o, piece, (size_t)n);
        at += (uint64_t)n;
    }
    return 0;
}
