/* flags.c - settings from the command line.
 *
 * --bind and --port each set one half of serve.listen; the other half is that
 * of the addresses set before. */
#include "config/load.h"

#include "base/host_port.h"
#include "config/value.h"

#include <string.h>

enum { ADDRESSES_MAX = 32 };

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

/* Give each address set before another port, except those with a role, which
 * have a port of their own, and Unix sockets. */
static int take_port(struct conf_loading *ld, const struct conf_override *o,
                     struct err *e)
{
    struct conf_listeners *held = &ld->c->serve.listen;
    unsigned long long port;

    if (!span_u64(span_of(o->value + 1), 65535, &port) || port == 0)
        return err_set(e, ERR_USAGE, 0,
                       "%s: '%.60s' is not a port, a number from 1 to 65535",
                       o->where, o->value + 1);
    for (size_t i = 0; i < held->n; i++)
        if (held->item[i].roles == 0 && held->item[i].path[0] == '\0')
            addr_set_port(&held->item[i].addr, (uint16_t)port);
    conf_note(ld, conf_find(SPAN_LIT("serve.listen")), o->where);
    return 0;
}

/* Complete an address without a port by the port of the first address set
 * before.  Text that is no address is left to the parser of the setting. */
static void with_port(const struct conf_listeners *held, struct span *el,
                      char text[ADDR_PORT_TEXT])
{
    uint16_t port = 0;
    struct addr a;

    for (size_t i = 0; i < held->n && port == 0; i++)
        port = addr_port(&held->item[i].addr); /* 0 of a Unix socket */
    if (port == 0)
        port = 25;
    if (addr_parse(&a, *el, port, NULL) != 0)
        return;
    addr_port_text(text, &a);
    *el = span_of(text);
}

/* Set a list by a flag; a repeated flag adds to the list. */
static int take_list(struct conf_loading *ld, const struct conf_item *it,
                     const struct conf_override *o, struct err *e)
{
    struct span el[CONF_LIST_MAX];
    char text[ADDRESSES_MAX][ADDR_PORT_TEXT];
    size_t n = conf_split(span_of(o->value), el);

    for (size_t i = 0; i < n && i < ADDRESSES_MAX; i++)
        if (strcmp(it->key, "serve.listen") == 0)
            with_port(&ld->c->serve.listen, &el[i], text[i]);
    if (strcmp(conf_origin(ld->c, it), o->where) != 0)
        return conf_take_list(ld, it, el, n, o->where, e);
    if (conf_add_list(ld->c, it, el, n, e) == 0)
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
        return take_port(ld, o, e);
    if (is_flag(o) && it->type >= CONF_DOMAINS)
        return take_list(ld, it, o, e);
    return conf_take(ld, it, span_of(o->value), o->where, e);
}

/* A flag overrides -o in any order; --port is applied last, because it changes
 * the addresses set by the others. */
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
