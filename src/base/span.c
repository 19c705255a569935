#include "base/span.h"

#include <stdint.h>
#include <string.h>

char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

void ascii_lower_str(char *s)
{
    for (; *s != '\0'; s++)
        *s = ascii_lower(*s);
}

bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool ascii_is_alpha(char c)
{
    char l = ascii_lower(c);

    return l >= 'a' && l <= 'z';
}

bool ascii_is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

struct span span_of(const char *cstr)
{
    return (struct span){ cstr, cstr == NULL ? 0 : strlen(cstr) };
}

bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_eq_nocase(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

bool span_is(struct span a, const char *cstr)
{
    return span_eq(a, span_of(cstr));
}

bool span_is_nocase(struct span a, const char *cstr)
{
    return span_eq_nocase(a, span_of(cstr));
}

bool span_starts_nocase(struct span a, const char *prefix)
{
    size_t n = strlen(prefix);

    return a.n >= n && span_is_nocase((struct span){ a.p, n }, prefix);
}

struct span span_trim(struct span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct span span_after_bom(struct span s)
{
    if (s.n >= 3 && memcmp(s.p, "\357\273\277", 3) == 0)
        return (struct span){ s.p + 3, s.n - 3 };
    return s;
}

bool span_next_line(struct span *rest, struct span *line, unsigned *number)
{
    while (rest->n > 0) {
        size_t n = span_find(*rest, '\n'), past = n + (n < rest->n);
        *line = span_trim((struct span){
            rest->p, n > 0 && rest->p[n - 1] == '\r' ? n - 1 : n });
        *rest = (struct span){ rest->p + past, rest->n - past };
        ++*number;
        if (line->n > 0 && line->p[0] != '#')
            return true;
    }
    return false;
}

size_t span_find(struct span s, char c)
{
    const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);

    return at == NULL ? s.n : (size_t)(at - s.p);
}

bool ascii_is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

/* Eight octets at a time: a subtraction borrows into the high bit of those that
 * are less than what is subtracted. */
static bool word_has_control(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, high = ones * 0x80;
    uint64_t word, del;

    memcpy(&word, p, sizeof word);
    del = word ^ ones * 0x7f;
    return (((word - ones * ' ') & ~word) | ((del - ones) & ~del)) & high;
}

bool span_has_control(struct span s)
{
    size_t i = 0;

    for (; i + sizeof(uint64_t) <= s.n; i += sizeof(uint64_t))
        if (word_has_control(s.p + i))
            return true;
    for (; i < s.n; i++)
        if (ascii_is_control(s.p[i]))
            return true;
    return false;
}

bool span_copy(char *dst, size_t size, struct span s)
{
    if (s.n >= size || span_find(s, '\0') != s.n) {
        if (size > 0)
            dst[0] = '\0';
        return false;
    }
    if (s.n > 0)
        memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return true;
}

bool span_u64(struct span s, unsigned long long max, unsigned long long *out)
{
    unsigned long long v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]))
            return false;
        unsigned d = (unsigned)(s.p[i] - '0');
        if (d > max || v > (max - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = v;
    return true;
}

int span_clipped(struct span s)
{
    return s.n > 100 ? 100 : (int)s.n;
}
