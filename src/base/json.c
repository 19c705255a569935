#include "base/json.h"

#include "base/clock.h"
#include "base/utf8.h"

static void put_ascii(FILE *out, unsigned char c)
{
    switch (c) {
    case '"': fputs("\\\"", out); break;
    case '\\': fputs("\\\\", out); break;
    case '\n': fputs("\\n", out); break;
    case '\r': fputs("\\r", out); break;
    case '\t': fputs("\\t", out); break;
    default:
        if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
}

/* Octets that stand for themselves: most of most texts. */
static size_t plain_length(struct span s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= ' ' && s.p[n] < 0x7f && s.p[n] != '"' &&
           s.p[n] != '\\')
        n++;
    return n;
}

void json_string(FILE *out, struct span s)
{
    putc('"', out);
    while (s.n > 0) {
        size_t plain = plain_length(s);
        size_t len = plain > 0 ? plain : utf8_length(s.p, s.n);
        if (plain > 0)
            fwrite(s.p, 1, plain, out);
        else if (len == 1)
            put_ascii(out, (unsigned char)s.p[0]);
        else if (len > 1 && utf8_control(s.p, len) != UTF8_NO_CONTROL)
            fprintf(out, "\\u%04x", utf8_control(s.p, len));
        else if (len > 1)
            fwrite(s.p, 1, len, out);
        else
            fputs("\\ufffd", out);
        len = len == 0 ? 1 : len;
        s.p += len;
        s.n -= len;
    }
    putc('"', out);
}

void json_time(FILE *out, uint64_t wall_us)
{
    char text[CLOCK_RFC3339_MAX];

    if (wall_us == 0) {
        fputs("null", out);
        return;
    }
    clock_rfc3339(text, wall_us);
    fprintf(out, "\"%s\"", text);
}
