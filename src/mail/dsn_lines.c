/* dsn_lines.c - the lines of a notice, from values that a network gave. */
#include "mail/dsn_private.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 76, WORD = 900 };

/* --- making values harmless --------------------------------------------- */

static void make_harmless(struct buf *b, struct span text, bool utf8)
{
    static const char mark[] = "...";
    size_t n;

    for (; text.n > 0 && !b->full; text.p += n, text.n -= n) {
        n = utf8_length(text.p, text.n);
        if (n == 0 || (n > 1 && !utf8)) {
            buf_addc(b, '?');
            n = n == 0 ? 1 : n;
        } else if (utf8_control(text.p, n) != UTF8_NO_CONTROL) {
            buf_addc(b, ' ');
        } else {
            buf_add(b, text.p, n);
        }
    }
    if (b->full)
        memcpy(b->p + b->n - strlen(mark), mark, strlen(mark));
}

void dsn_harmless(char out[DSN_VALUE_MAX], const char *text, bool utf8)
{
    struct buf b;

    buf_init(&b, out, DSN_VALUE_MAX);
    make_harmless(&b, span_of(text), utf8);
}

bool dsn_has_text(const char *s)
{
    return s != NULL && *s != '\0';
}

/* --- lines -------------------------------------------------------------- */

void dsn_put_string(struct dsn_notice *o, const char *text)
{
    dsn_put(&o->to, text, strlen(text));
}

void dsn_put_folded(struct dsn_notice *o, const char *first, const char *indent,
                    const char *value)
{
    size_t column = strlen(first);
    bool fresh = true;

    dsn_put_string(o, first);
    for (struct span rest = span_trim(span_of(value)); rest.n > 0;) {
        size_t n = span_find(rest, ' ');
        n = n < WORD ? n : WORD;
        if (!fresh && column + 1 + n > LINE) {
            dsn_put_string(o, "\r\n");
            dsn_put_string(o, indent);
            column = strlen(indent);
            fresh = true;
        }
        if (!fresh)
            dsn_put_string(o, " ");
        dsn_put(&o->to, rest.p, n);
        column += n + !fresh;
        fresh = false;
        rest = span_trim((struct span){ rest.p + n, rest.n - n });
    }
    dsn_put_string(o, "\r\n");
}

void dsn_start_part(struct dsn_notice *o, const char *type,
                    const char *encoding)
{
    dsn_put_string(o, "\r\n--");
    dsn_put_string(o, o->boundary);
    dsn_put_string(o, "\r\nContent-Type: ");
    dsn_put_string(o, type);
    dsn_put_string(o, "\r\nContent-Transfer-Encoding: ");
    dsn_put_string(o, encoding);
    dsn_put_string(o, "\r\n\r\n");
}

/* The text without what it repeats of code and status. */
static struct span bare_text(struct span text, const char *code,
                             const char *status)
{
    const char *const parts[] = { code, status };

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t n = strlen(parts[i]);
        if (span_starts_nocase(text, parts[i]) &&
            (text.n == n || text.p[n] == ' '))
            text = span_trim((struct span){ text.p + n, text.n - n });
    }
    return text;
}

void dsn_reply_text(char out[DSN_REPLY_MAX], const struct dsn_rcpt *r,
                    struct span text, bool more)
{
    char status[SMTP_STATUS_TEXT], code[8];
    struct buf b;

    snprintf(code, sizeof code, "%03u", r->status.code % 1000u);
    smtp_status_text(status, &r->status);
    buf_init(&b, out, DSN_REPLY_MAX);
    buf_addf(&b, "%s%c%s%s", code, more ? '-' : ' ', status,
             status[0] != '\0' ? " " : "");
    make_harmless(&b, bare_text(span_trim(text), code, status), false);
}
