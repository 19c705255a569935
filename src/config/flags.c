/* flags.c - settings from the command line.
 *
 * serve.listen is set by --bind and --port, each of which says one half: the
 * half that is missing is that of the addresses that held before. */
#include "config/load.h"

#include "config/value.h"

#include <string.h>

enum { LISTEN_MAX = 16, LISTEN_TEXT = 320 };

static bool is_flag(const struct conf_override *o)
{
    return o->where[0] == '-' && o->where[1] == '-';
}

/* ":25" is a port, "::1" an address. */
static bool is_port(const struct conf_override *o)
{
    return is_flag(o) && strcmp(o->key, "serve.listen") == 0 &&
           o->value[0] == ':' && o->value[1] != ':';
}

/* Where the ":port" of an address begins; its end when it has none. */
static size_t port_at(struct span a)
{
    size_t colon = span_find(a, ':');

    if (a.n > 0 && a.p[0] == '[') {
        size_t close = span_find(a, ']');
        return close < a.n ? close + 1 : a.n;
    }
    struct span rest = { a.p + colon, a.n - colon };
    if (colon < a.n &&
        span_find((struct span){ rest.p + 1, rest.n - 1 }, ':') < rest.n - 1)
        return a.n; /* IPv6 without brackets */
    return colon;
}

/* Every address that held, with another port. */
static int take_port(struct conf_loading *ld, const struct conf_item *it,
                     const struct conf_override *o, struct err *e)
{
    const struct conf_list *held = conf_list_of(ld->c, it);
    char text[LISTEN_MAX][LISTEN_TEXT];
    struct span el[LISTEN_MAX];
    unsigned long long port;
    size_t n;

    if (!span_u64(span_of(o->value + 1), 65535, &port))
        return err_set(e, ERR_PERM, 0, "%s: '%.60s' is not a port", o->where,
                       o->value + 1);
    for (n = 0; n < held->n && n < LISTEN_MAX; n++) {
        struct span a = span_of(held->item[n]);
        snprintf(text[n], LISTEN_TEXT, "%.*s:%llu",
                 port_at(a) < 300 ? (int)port_at(a) : 300, a.p, port);
        el[n] = span_of(text[n]);
    }
    return conf_take_list(ld, it, el, n, o->where, e);
}

/* The address with the port of the first that held. */
static struct span with_port(const struct conf_list *held, struct span a,
                             char out[LISTEN_TEXT])
{
    struct span first = held->n > 0 ? span_of(held->item[0]) : SPAN_LIT(":25");
    const char *port = first.p + port_at(first);
    bool bare6 = span_find(a, ':') < a.n && a.p[0] != '[';

    if (port_at(a) < a.n || a.n > 256)
        return a;
    snprintf(out, LISTEN_TEXT, "%s%.*s%s%.50s", bare6 ? "[" : "", (int)a.n, a.p,
             bare6 ? "]" : "", *port == ':' ? port : ":25");
    return span_of(out);
}

static int take_bind(struct conf_loading *ld, const struct conf_item *it,
                     const struct conf_override *o, struct err *e)
{
    const struct conf_list *held = conf_list_of(ld->c, it);
    struct span el[CONF_LIST_MAX];
    char text[LISTEN_MAX][LISTEN_TEXT];
    size_t n = conf_split(span_of(o->value), el);
    bool again = strcmp(conf_origin(ld, it), o->where) == 0;

    for (size_t i = 0; i < n && i < LISTEN_MAX; i++)
        el[i] = with_port(held, el[i], text[i]);
    if (!again)
        return conf_take_list(ld, it, el, n, o->where, e);
    if (conf_add_list(ld->c, it, el, n, e) == 0)
        return 0;
    err_prefix(e, "%s: %s", o->where, it->key);
    return -1;
}

static int take_again(struct conf_loading *ld, const struct conf_item *it,
                      const struct conf_override *o, struct err *e)
{
    struct span el[CONF_LIST_MAX];

    if (conf_add_list(ld->c, it, el, conf_split(span_of(o->value), el), e) == 0)
        return 0;
    err_prefix(e, "%s: %s", o->where, it->key);
    return -1;
}

static int take(struct conf_loading *ld, const struct conf_override *o,
                struct err *e)
{
    const struct conf_item *it = conf_find(span_of(o->key));

    if (it == NULL)
        return conf_unknown(o->where, o->key, e);
    if (is_port(o))
        return take_port(ld, it, o, e);
    if (is_flag(o) && strcmp(it->key, "serve.listen") == 0)
        return take_bind(ld, it, o, e);
    if (is_flag(o) && it->type == CONF_LIST &&
        strcmp(conf_origin(ld, it), o->where) == 0)
        return take_again(ld, it, o, e);
    return conf_take(ld, it, span_of(o->value), o->where, e);
}

/* -o is weaker than a flag of its own, wherever each stands; --port is last,
 * because it is about the addresses that the others leave. */
int conf_load_flags(struct conf_loading *ld, struct err *e)
{
    const struct conf_source *from = ld->from;

    for (unsigned pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < from->nover; i++) {
            const struct conf_override *o = &from->over[i];
            unsigned due = is_port(o) ? 2 : is_flag(o) ? 1 : 0;
            if (due == pass && take(ld, o, e) != 0) {
                if (e->kind == ERR_PERM)
                    e->kind = ERR_USAGE;
                return -1;
            }
        }
    return 0;
}
