/* list.c - values that are lists: made once, exactly as long as needed. */
#include "config/value.h"

#include <stdlib.h>
#include <string.h>

enum { ELEMENT_MAX = CONF_TEXT_MAX - 1 };

struct conf_list *conf_list_of(struct conf *c, const struct conf_item *it)
{
    return (struct conf_list *)(void *)((char *)c + it->offset);
}

void conf_list_free(struct conf_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->item[i]);
    free(l->item);
    *l = (struct conf_list){ 0, NULL };
}

size_t conf_split(struct span text, struct span el[CONF_LIST_MAX])
{
    size_t n = 0;

    text = span_trim(text);
    if (text.n == 0)
        return 0;
    for (;;) {
        size_t len = span_find(text, ',');
        if (n < CONF_LIST_MAX)
            el[n] = span_trim((struct span){ text.p, len });
        n++;
        if (len == text.n)
            return n;
        text.p += len + 1;
        text.n -= len + 1;
    }
}

static int check_word(const struct conf_item *it, struct span s, struct err *e)
{
    char given[64];

    for (size_t i = 0; it->words[i] != NULL; i++)
        if (span_is_nocase(s, it->words[i]))
            return 0;
    snprintf(given, sizeof given, "%.*s", (int)(s.n > 60 ? 60 : s.n), s.p);
    for (size_t i = 0; given[i] != '\0'; i++)
        if (given[i] >= 'a' && given[i] <= 'z')
            given[i] = (char)(given[i] - 'a' + 'A');
    const char *near = conf_nearest_word(it->words, given);
    return err_set(e, ERR_PERM, 0, "'%s' is not known here%s%s%s", given,
                   near != NULL ? "; did you mean '" : "",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
}

static int check_element(const struct conf_item *it, struct span s,
                         struct err *e)
{
    if (s.n == 0)
        return err_set(e, ERR_PERM, 0, "empty element in the list");
    if (s.n > ELEMENT_MAX)
        return err_set(e, ERR_PERM, 0, "element longer than %d characters",
                       ELEMENT_MAX);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return err_set(e, ERR_PERM, 0, "control character in the list");
    return it->words != NULL ? check_word(it, s, e) : 0;
}

static char *duplicate(struct span s)
{
    char *copy = malloc(s.n + 1);

    if (copy != NULL)
        span_copy(copy, s.n + 1, s);
    return copy;
}

/* A list of the old elements and the new ones, in memory of its own. */
static int join(struct conf_list *out, const struct conf_list *old,
                const struct span *el, size_t n)
{
    struct conf_list l = { 0, NULL };
    size_t nold = old == NULL ? 0 : old->n;

    if (nold + n > 0 && (l.item = calloc(nold + n, sizeof *l.item)) == NULL)
        return -1;
    for (; l.n < nold + n; l.n++) {
        l.item[l.n] =
            duplicate(l.n < nold ? span_of(old->item[l.n]) : el[l.n - nold]);
        if (l.item[l.n] == NULL) {
            conf_list_free(&l);
            return -1;
        }
    }
    *out = l;
    return 0;
}

static int replace(struct conf *c, const struct conf_item *it,
                   const struct conf_list *old, const struct span *el, size_t n,
                   struct err *e)
{
    struct conf_list *field = conf_list_of(c, it), made;
    long long total = (long long)n + (old == NULL ? 0 : (long long)old->n);

    if (total < it->min)
        return err_set(e, ERR_PERM, 0, "may not be empty");
    if (total > it->max)
        return err_set(e, ERR_PERM, 0, "more than %lld elements", it->max);
    for (size_t i = 0; i < n; i++)
        if (check_element(it, el[i], e) != 0)
            return -1;
    if (join(&made, old, el, n) != 0)
        return err_set(e, ERR_TEMP, 0, "out of memory");
    conf_list_free(field);
    *field = made;
    return 0;
}

int conf_set_list(struct conf *c, const struct conf_item *it,
                  const struct span *el, size_t n, struct err *e)
{
    return replace(c, it, NULL, el, n, e);
}

int conf_add_list(struct conf *c, const struct conf_item *it,
                  const struct span *el, size_t n, struct err *e)
{
    return replace(c, it, conf_list_of(c, it), el, n, e);
}
