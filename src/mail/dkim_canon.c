#include "mail/dkim_canon.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void put_lines(struct dkim_canon *c)
{
    static const char ends[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
                               "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    const uint64_t most = (sizeof ends - 1) / 2;

    while (c->lines > 0) {
        uint64_t n = c->lines < most ? c->lines : most;
        c->put(c->ctx, ends, (size_t)n * 2);
        c->lines -= n;
    }
}

/* The line ends of a value go, and its blanks before the first octet and behind
 * the last one. */
enum part { BODY, VALUE };

static void put_text(struct dkim_canon *c, enum part part, const char *p,
                     size_t n)
{
    if (part == BODY)
        put_lines(c);
    else
        c->blank &= c->any;
    if (c->blank)
        c->put(c->ctx, " ", 1);
    c->blank = false;
    c->any = true;
    c->put(c->ctx, p, n);
}

/* So many octets stay as they are: up to a blank that is not a single one
 * within a line of this piece, or a CR. */
static size_t unchanged(const char *p, size_t n)
{
    size_t i = 0;

    for (; i < n && p[i] != '\r' && p[i] != '\t'; i++)
        if (p[i] == ' ' &&
            (i + 1 == n || is_blank(p[i + 1]) || p[i + 1] == '\r'))
            break;
    return i;
}

static void canonise(struct dkim_canon *c, enum part part, const char *p,
                     size_t n)
{
    const char *end = p + n;

    while (p < end) {
        bool ends_line = c->cr && *p == '\n';
        if (c->cr && !ends_line)
            put_text(c, part, "\r", 1);
        c->cr = *p == '\r';
        if (ends_line && part == BODY) {
            c->blank = false;
            c->lines++;
        }
        if (ends_line || c->cr) {
            p++;
        } else if (is_blank(*p)) {
            c->blank = true;
            p++;
        } else {
            size_t same = unchanged(p, (size_t)(end - p));
            put_text(c, part, p, same);
            p += same;
        }
    }
}

void dkim_canon_body(struct dkim_canon *c, const char *p, size_t n)
{
    canonise(c, BODY, p, n);
}

void dkim_canon_body_end(struct dkim_canon *c)
{
    if (c->cr)
        put_text(c, BODY, "\r", 1);
    c->cr = false;
    c->lines = 1;
    if (c->any)
        put_lines(c);
}

void dkim_canon_value(struct dkim_canon *c, const char *p, size_t n)
{
    canonise(c, VALUE, p, n);
}

void dkim_canon_value_end(struct dkim_canon *c)
{
    if (c->cr)
        put_text(c, VALUE, "\r", 1);
    c->cr = false;
}
