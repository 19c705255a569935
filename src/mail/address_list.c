#include "mail/address_list.h"

#include <string.h>

enum { PLAIN, QUOTE, LITERAL, COMMENT, PAIR };

static void begin_spec(struct address_list *l)
{
    l->spec_at = l->spec_end = l->addr_n = 0;
    l->gap = l->phrase = false;
}

static void begin_element(struct address_list *l)
{
    begin_spec(l);
    l->n = 0;
    l->angle = l->closed = l->too_long = false;
}

void address_list_start(struct address_list *l)
{
    l->state = l->before = PLAIN;
    l->depth = 0;
    begin_element(l);
}

/* text_only: the name of a group, or a piece in front of the last one. */
static int show(struct address_list *l, bool text_only, address_element_fn *fn,
                void *ctx)
{
    struct address_element el = { .text = { l->text, l->n } };

    if (!text_only) {
        el.angle = l->angle;
        el.phrase = l->phrase && !l->angle;
        el.broken = (l->phrase && l->angle) || l->state != PLAIN;
        if (!l->phrase)
            el.addr = (struct span){ l->addr, l->addr_n };
        if (!l->phrase && !l->too_long)
            el.spec =
                (struct span){ l->text + l->spec_at, l->spec_end - l->spec_at };
    }
    return l->n == 0 ? 0 : fn(ctx, &el);
}

static int end_element(struct address_list *l, bool text_only,
                       address_element_fn *fn, void *ctx)
{
    int rc = show(l, text_only, fn, ctx);

    begin_element(l);
    return rc;
}

/* One more octet of the addr-spec, which stands last in text.  Words with a
 * blank or a comment between them are a phrase, but around "@" and ".". */
static void add_to_spec(struct address_list *l, char c)
{
    if (l->closed)
        return;
    char last = l->addr_n > 0 ? l->addr[l->addr_n - 1] : '@';
    if (l->gap && last != '@' && last != '.' && c != '@' && c != '.')
        l->phrase = true;
    l->gap = false;
    if (l->addr_n == 0)
        l->spec_at = l->n - 1;
    l->spec_end = l->n;
    if (l->addr_n + 1 < sizeof l->addr)
        l->addr[l->addr_n++] = c;
    else
        l->phrase = true; /* longer than any address */
}

static bool is_delimiter(const struct address_list *l, char c)
{
    return (c == ',' || c == ';' || c == ':') && (!l->angle || l->closed);
}

/* An octet outside of quotes, comments and literals. */
static void take_plain(struct address_list *l, char c)
{
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n': l->gap = true; return;
    case '(':
        l->gap = true;
        l->depth = 1;
        l->state = COMMENT;
        return;
    case '<':
        begin_spec(l);
        l->spec_at = l->spec_end = l->n;
        l->angle = true;
        return;
    case '>': l->closed = l->angle; return;
    case ':':
    case ',':
        if (l->angle) { /* in "<@a,@b:c@d>": what was there is the route */
            begin_spec(l);
            l->spec_at = l->spec_end = l->n;
        }
        return;
    case '"': l->state = QUOTE; break;
    case '[': l->state = LITERAL; break;
    default: break;
    }
    add_to_spec(l, c);
}

static void take_comment(struct address_list *l, char c)
{
    if (c == '(')
        l->depth++;
    else if (c == ')' && --l->depth == 0)
        l->state = PLAIN;
}

static void take(struct address_list *l, char c)
{
    switch (l->state) {
    case PLAIN: take_plain(l, c); return;
    case PAIR:
        l->state = l->before;
        if (l->state != COMMENT)
            add_to_spec(l, c);
        return;
    case COMMENT:
        if (c != '\\') {
            take_comment(l, c);
            return;
        }
        break;
    case QUOTE:
    case LITERAL:
        if (c != '\r' && c != '\n') /* of a fold */
            add_to_spec(l, c);
        if (c == (l->state == QUOTE ? '"' : ']'))
            l->state = PLAIN;
        break;
    default: break;
    }
    if (c == '\\') {
        l->before = l->state;
        l->state = PAIR;
    }
}

int address_list_feed(struct address_list *l, struct span piece,
                      address_element_fn *fn, void *ctx)
{
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        bool ends = l->state == PLAIN && is_delimiter(l, c);
        int rc = 0;
        if (l->state == PLAIN && l->closed && c == '<')
            rc = end_element(l, false, fn, ctx); /* the comma is missing */
        if (rc == 0 && l->n == sizeof l->text) {
            l->too_long = true;
            rc = show(l, true, fn, ctx);
            l->n = 0;
        }
        l->text[l->n++] = c;
        if (!ends)
            take(l, c);
        else if (rc == 0)
            rc = end_element(l, c == ':', fn, ctx);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int address_list_end(struct address_list *l, address_element_fn *fn, void *ctx)
{
    int rc = show(l, false, fn, ctx);

    address_list_start(l);
    return rc;
}
