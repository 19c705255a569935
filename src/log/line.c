/* line.c - fields of a line that is text or JSON. */
#include "log/line.h"

#include <string.h>

static char at(struct span s, size_t i)
{
    return i < s.n ? s.p[i] : '\0';
}

/* The offset behind the closing quote of the string that begins at i. */
static size_t skip_quoted(struct span s, size_t i)
{
    for (i++; i < s.n && s.p[i] != '"'; i++)
        if (s.p[i] == '\\')
            i++;
    return i < s.n ? i + 1 : s.n;
}

static bool span_at(struct span s, size_t from, size_t to, const char *want)
{
    return to >= from && to <= s.n &&
           span_is((struct span){ s.p + from, to - from }, want);
}

/* Compare a value without the quotes around it. */
static bool value_is(struct span s, size_t from, size_t to, const char *want)
{
    if (at(s, from) == '"')
        return to >= from + 2 && span_at(s, from + 1, to - 1, want);
    return span_at(s, from, to, want);
}

/* {"key":value,...}: flat, written without blanks. */
static bool json_has(struct span s, const char *key, const char *value)
{
    size_t i = 1;

    while (at(s, i) == '"') {
        size_t k = i, end;
        i = skip_quoted(s, i);
        size_t v = ++i; /* behind the colon */
        if (at(s, v) == '"')
            i = skip_quoted(s, v);
        else
            while (i < s.n && s.p[i] != ',' && s.p[i] != '}')
                i++;
        end = i;
        if (span_at(s, k + 1, v - 2, key) && value_is(s, v, end, value))
            return true;
        i++; /* behind the comma */
    }
    return false;
}

/* time level event key=value ... */
static bool text_has(struct span s, const char *key, const char *value)
{
    size_t i = 0;

    while (i < s.n) {
        size_t k = i, v;
        while (i < s.n && s.p[i] != '=' && s.p[i] != ' ')
            i++;
        if (at(s, i) != '=') {
            i++;
            continue;
        }
        v = ++i;
        if (at(s, v) == '"')
            i = skip_quoted(s, v);
        while (i < s.n && s.p[i] != ' ')
            i++;
        if (span_at(s, k, v - 1, key) && value_is(s, v, i, value))
            return true;
        i++;
    }
    return false;
}

bool log_line_has(struct span line, const char *key, const char *value)
{
    while (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    return at(line, 0) == '{' ? json_has(line, key, value)
                              : text_has(line, key, value);
}
