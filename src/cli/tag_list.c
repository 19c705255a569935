#include "cli/tag_list.h"

#include "base/span.h"

/* The next "tag = value"; false: the end. */
static bool next_tag(struct span *rest, struct span *tag, struct span *value)
{
    if (rest->n == 0)
        return false;
    size_t end = span_find(*rest, ';');
    struct span one = { rest->p, end };
    size_t eq = span_find(one, '=');

    *tag = span_trim((struct span){ one.p, eq });
    *value = (struct span){ one.p + eq, one.n - eq };
    if (value->n > 0) {
        value->p++;
        value->n--;
    }
    end += end < rest->n;
    rest->p += end;
    rest->n -= end;
    return true;
}

static void copy_without_blanks(char *out, size_t size, struct span value)
{
    size_t n = 0;

    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == ' ' || value.p[i] == '\t')
            continue;
        if (n + 1 == size) {
            n = 0;
            break;
        }
        out[n++] = value.p[i];
    }
    out[n] = '\0';
}

bool tag_list_find(char *out, size_t size, const char *record, const char *tag)
{
    struct span rest = span_of(record), name, value;

    out[0] = '\0';
    while (next_tag(&rest, &name, &value))
        if (span_is(name, tag)) {
            copy_without_blanks(out, size, value);
            return true;
        }
    return false;
}

bool tag_list_begins(const char *record, const char *tag, const char *value)
{
    struct span rest = span_of(record), name, got;

    return next_tag(&rest, &name, &got) && span_is(name, tag) &&
           span_is(span_trim(got), value);
}
