/* format.c - events as text and as JSON. */
#include "log/format.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <string.h>

/* Reserved behind the fields for `,"truncated":true}` and the newline. */
enum { TAIL_ROOM = 24 };

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static void add_hex(struct buf *b, unsigned value, int digits)
{
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        buf_addc(b, "0123456789abcdef"[value >> shift & 15]);
}

static char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\': return c;
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return '\0';
    }
}

/* Escape one to three bytes; `len` is their length as UTF-8, 0 for an octet
 * that is not UTF-8. */
static void add_escaped(struct buf *b, enum log_format f, const char *p,
                        size_t len)
{
    const unsigned char *u = (const unsigned char *)p;
    char brief = short_escape(*p);

    if (brief != '\0') {
        buf_addc(b, '\\');
        buf_addc(b, brief);
    } else if (f == LOG_TEXT) {
        for (size_t i = 0; i < (len == 0 ? 1 : len); i++) {
            buf_adds(b, "\\x");
            add_hex(b, u[i], 2);
        }
    } else {
        buf_adds(b, "\\u");
        add_hex(b,
                len == 0   ? 0xfffd
                : len == 1 ? u[0]
                           : utf8_control(p, len),
                4);
    }
}

/* Add the value between quotes; copy bytes that need no escape in runs. */
static void add_quoted(struct buf *b, enum log_format f, struct span s)
{
    size_t run = 0;

    while (run < s.n) {
        size_t len = utf8_length(s.p + run, s.n - run);
        unsigned char c = (unsigned char)s.p[run];
        bool stands = len > 1 ? utf8_control(s.p + run, len) == UTF8_NO_CONTROL
                              : len == 1 && c >= ' ' && c != 0x7f && c != '"' &&
                                    c != '\\';
        if (stands) {
            run += len;
            continue;
        }
        buf_add(b, s.p, run);
        add_escaped(b, f, s.p + run, len);
        run += len == 0 ? 1 : len;
        s.p += run;
        s.n -= run;
        run = 0;
    }
    buf_add(b, s.p, run);
}

static void add_string(struct buf *b, enum log_format f, struct span s)
{
    bool cut = s.n > LOG_VALUE_MAX, plain = f == LOG_TEXT && !cut && s.n > 0;

    if (cut) {
        s.n = LOG_VALUE_MAX; /* but not inside a character */
        for (int i = 0; i < 3 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80; i++)
            s.n--;
    }
    for (size_t i = 0; plain && i < s.n; i++)
        plain = is_plain((unsigned char)s.p[i]);
    if (plain) {
        buf_add(b, s.p, s.n);
        return;
    }
    buf_addc(b, '"');
    add_quoted(b, f, s);
    buf_adds(b, cut ? "...\"" : "\"");
}

static void add_number(struct buf *b, long long value)
{
    char digits[24], *p = digits + sizeof digits;
    unsigned long long left =
        value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;

    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(digits + sizeof digits - p));
}

static void add_field(struct buf *b, enum log_format f,
                      const struct log_field *field)
{
    buf_adds(b, f == LOG_TEXT ? " " : ",\"");
    buf_adds(b, field->key);
    buf_adds(b, f == LOG_TEXT ? "=" : "\":");
    if (field->type == LOG_NUM)
        add_number(b, field->num);
    else if (field->type == LOG_STR)
        add_string(b, f, span_of(field->str));
    else
        add_string(b, f, (struct span){ field->str, (size_t)field->num });
}

static void add_head(struct buf *b, enum log_format f,
                     const struct log_event *ev)
{
    char time[CLOCK_RFC3339_MAX];
    size_t n = clock_rfc3339(time, ev->wall_us);
    bool json = f == LOG_JSON;

    if (json)
        buf_adds(b, "{\"time\":\"");
    buf_add(b, time, n);
    buf_adds(b, json ? "\",\"level\":\"" : " ");
    buf_adds(b, level_names[ev->level]);
    buf_adds(b, json ? "\",\"event\":\"" : " ");
    buf_adds(b, ev->name);
    if (json)
        buf_addc(b, '"');
}

void log_render(struct buf *b, enum log_format format,
                const struct log_event *ev)
{
    bool truncated = false;

    b->cap -= TAIL_ROOM;
    add_head(b, format, ev);
    for (const struct log_field *f = ev->fields; f->type != LOG_END; f++) {
        size_t mark = b->n;
        if (f->type != LOG_NUM && f->str == NULL)
            continue;
        add_field(b, format, f);
        if (b->full) { /* the next one may be smaller */
            b->n = mark;
            b->p[mark] = '\0';
            b->full = false;
            truncated = true;
        }
    }
    b->cap += TAIL_ROOM;
    if (truncated)
        buf_adds(b, format == LOG_TEXT ? " truncated=1" : ",\"truncated\":1");
    buf_adds(b, format == LOG_TEXT ? "\n" : "}\n");
}
