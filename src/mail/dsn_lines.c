/* dsn_lines.c - the lines of a notice, from values that a network gave. */
#include "mail/dsn_private.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 76 };

/* --- making values harmless --------------------------------------------- */

void dsn_harmless(char out[DSN_VALUE_MAX], const char *text, bool utf8)
{
    static const char mark[] = "...";
    struct buf b;
    size_t left = text == NULL ? 0 : strlen(text), n;

    buf_init(&b, out, DSN_VALUE_MAX);
    for (const char *p = text; left > 0 && !b.full; p += n, left -= n) {
        n = utf8_length(p, left);
        if (n == 0 || (n > 1 && !utf8)) {
            buf_addc(&b, '?');
            n = n == 0 ? 1 : n;
        } else if (utf8_control(p, n) != UTF8_NO_CONTROL) {
            buf_addc(&b, ' ');
        } else {
            buf_add(&b, p, n);
        }
    }
    if (b.full)
        memcpy(out + b.n - strlen(mark), mark, strlen(mark));
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

const char *dsn_encoding_of(bool eight_bit)
{
    return eight_bit ? "8bit" : "7bit";
}

void dsn_reply_text(char out[DSN_VALUE_MAX + 16], const struct dsn_rcpt *r)
{
    char status[SMTP_STATUS_TEXT], text[DSN_VALUE_MAX], code[8];

    snprintf(code, sizeof code, "%03u", r->status.code % 1000u);
    smtp_status_text(status, &r->status);
    dsn_harmless(text, r->reply, false);
    const char *rest =
        strncmp(text, code, strlen(code)) == 0 ? text + strlen(code) : text;
    while (*rest == ' ')
        rest++;
    bool given =
        status[0] == '\0' || strncmp(rest, status, strlen(status)) == 0;
    snprintf(out, DSN_VALUE_MAX + 16, "%s %s%s%s", code, given ? "" : status,
             given ? "" : " ", rest);
}
