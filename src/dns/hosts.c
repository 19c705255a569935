#include "dns/hosts.h"

#include "base/handdown.h"
#include "base/idn.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int dns_hosts_load(struct dns_hosts *h, const char *path, struct err *e)
{
    struct dns_hosts next;
    struct err why;

    if (handdown_read(&next.text, &next.n, path, &why) != 0) {
        if (why.sys != ENOENT && why.sys != ENOTDIR) {
            *e = why;
            return -1;
        }
        next = (struct dns_hosts){ NULL, 0 };
    }
    dns_hosts_free(h);
    *h = next;
    return 0;
}

void dns_hosts_free(struct dns_hosts *h)
{
    free(h->text);
    *h = (struct dns_hosts){ NULL, 0 };
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Take the next word off the line; empty: there is none. */
static struct span next_word(struct span *line)
{
    size_t from = 0, to;

    while (from < line->n && is_blank(line->p[from]))
        from++;
    for (to = from; to < line->n && !is_blank(line->p[to]);)
        to++;
    struct span word = { line->p + from, to - from };
    *line = (struct span){ line->p + to, line->n - to };
    return word;
}

/* A name may end in a dot, and may have U-labels. */
static bool is_name(struct span word, const char *name)
{
    char text[4 * IDN_MAX], ascii[IDN_MAX];
    bool utf8 = false;

    if (word.n > 1 && word.p[word.n - 1] == '.')
        word.n--;
    for (size_t i = 0; i < word.n && !utf8; i++)
        utf8 = ((unsigned char)word.p[i] & 0x80) != 0;
    if (!utf8)
        return span_is_nocase(word, name);
    return span_copy(text, sizeof text, word) && idn_ascii(ascii, text) &&
           span_is_nocase(span_of(ascii), name);
}

static bool has_name(struct span names, const char *name)
{
    struct span word;

    while ((word = next_word(&names)).n > 0)
        if (is_name(word, name))
            return true;
    return false;
}

static size_t add(struct addr *list, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++)
        if (addr_eq(&list[i], a))
            return n;
    list[n] = *a;
    return n + 1;
}

size_t dns_hosts_find(const struct dns_hosts *h, const char *name,
                      struct addr *out, size_t max)
{
    struct span rest = { h->text, h->n };
    size_t found = 0;

    while (rest.n > 0 && found < max) {
        struct span line = { rest.p, span_find(rest, '\n') };
        size_t past = line.n + (line.n < rest.n);
        struct addr a;

        line.n = span_find(line, '#');
        if (addr_parse_ip(&a, next_word(&line), 0) && has_name(line, name))
            found = add(out, found, &a);
        rest = (struct span){ rest.p + past, rest.n - past };
    }
    return found;
}
