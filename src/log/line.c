/* line.c - fields of a line that is text or JSON. */
#include "log/line.h"

#include "log/show.h"

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

/* Without the quotes around it; one without an end has no value. */
static struct span value_of(struct span s, size_t from, size_t to)
{
    struct span v = { s.p + from, to - from };

    if (v.n == 0 || v.p[0] != '"')
        return v;
    if (v.n < 2 || v.p[v.n - 1] != '"')
        return (struct span){ NULL, 0 };
    return (struct span){ v.p + 1, v.n - 2 };
}

void log_line_begin(struct log_line *l, struct span line)
{
    while (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    *l = (struct log_line){ .s = line, .json = at(line, 0) == '{' };
    l->at = l->json;
}

/* {"key":value,...}: flat, written without blanks. */
static bool next_json(struct log_line *l, struct span *key, struct span *value)
{
    struct span s = l->s;
    size_t i = l->at, k = i;

    if (at(s, i) != '"')
        return false;
    i = skip_quoted(s, i);
    size_t v = i + 1; /* behind the colon */
    if (v >= s.n)
        return false;
    *key = value_of(s, k, i);
    i = v;
    if (at(s, v) == '"')
        i = skip_quoted(s, v);
    else
        while (i < s.n && s.p[i] != ',' && s.p[i] != '}')
            i++;
    *value = value_of(s, v, i);
    l->at = i + 1; /* behind the comma */
    return true;
}

static bool take_word(struct log_line *l, struct span word, struct span *key,
                      struct span *value)
{
    static const char *const names[] = { "time", "level", "event" };

    if (l->word >= sizeof names / sizeof names[0])
        return false;
    *key = span_of(names[l->word++]);
    *value = word;
    return true;
}

/* time level event key=value ... */
static bool next_text(struct log_line *l, struct span *key, struct span *value)
{
    struct span s = l->s;

    while (l->at < s.n) {
        size_t i = l->at, k = i, v;
        while (i < s.n && s.p[i] != '=' && s.p[i] != ' ')
            i++;
        if (at(s, i) != '=') {
            l->at = i + 1;
            if (take_word(l, (struct span){ s.p + k, i - k }, key, value))
                return true;
            continue;
        }
        v = i + 1;
        *key = (struct span){ s.p + k, i - k };
        i = at(s, v) == '"' ? skip_quoted(s, v) : v;
        while (i < s.n && s.p[i] != ' ')
            i++;
        *value = value_of(s, v, i);
        l->at = i + 1;
        return true;
    }
    return false;
}

bool log_line_next(struct log_line *l, struct span *key, struct span *value)
{
    return l->json ? next_json(l, key, value) : next_text(l, key, value);
}

struct span log_field_of(struct span line, const char *key)
{
    struct log_line l;
    struct span k, v;

    log_line_begin(&l, line);
    while (log_line_next(&l, &k, &v))
        if (span_is(k, key))
            return v;
    return (struct span){ NULL, 0 };
}

void log_each_field(struct span line, log_field_fn *fn, void *ctx)
{
    struct log_line l;
    struct span k, v;

    log_line_begin(&l, line);
    while (log_line_next(&l, &k, &v))
        fn(ctx, k, v);
}
