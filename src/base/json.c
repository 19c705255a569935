#include "base/json.h"

#include "base/clock.h"

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_length(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len > n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

static unsigned long code_of(const unsigned char *p, size_t len)
{
    unsigned long code = len == 1 ? p[0] : p[0] & (0x7fu >> len);

    for (size_t i = 1; i < len; i++)
        code = code << 6 | (p[i] & 0x3fu);
    return code;
}

unsigned utf8_control(const char *p, size_t len)
{
    unsigned long c = code_of((const unsigned char *)p, len);
    bool control =
        c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
    bool turns = c == 0x200e || c == 0x200f || c == 0x61c ||
                 (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);

    return control || turns ? (unsigned)c : UTF8_NO_CONTROL;
}

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

void json_string(FILE *out, struct span s)
{
    putc('"', out);
    while (s.n > 0) {
        size_t len = utf8_length(s.p, s.n);
        if (len == 1)
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
