#include "base/host_port.h"

#include <stdio.h>
#include <string.h>

static int take_port(uint16_t *port, struct span text, struct span whole,
                     struct err *e)
{
    unsigned long long v;

    if (!span_u64(text, 65535, &v) || v == 0)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s': port '%.*s' is not a number from 1 to 65535",
                       span_clipped(whole), whole.p, span_clipped(text),
                       text.p);
    *port = (uint16_t)v;
    return 0;
}

static bool is_number(struct span s)
{
    unsigned long long v;

    return span_u64(s, ~0ull, &v);
}

/* What ends in a number was meant to be an address, as 192.0.2.256 was. */
static bool ends_in_number(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && is_number(span_of(dot + 1));
}

static int take_host(struct host_port *h, struct span host, struct span whole,
                     struct err *e)
{
    struct span ip = host;
    char text[ADDR_TEXT];

    if (h->bracketed && span_starts_nocase(ip, "IPv6:"))
        ip = (struct span){ ip.p + 5, ip.n - 5 };
    if (addr_parse_ip(&h->addr, ip, h->port)) {
        addr_text(text, &h->addr);
        span_copy(h->host, sizeof h->host, span_of(text));
        h->numeric = true;
        h->bracketed = false; /* an address has no MX anyway */
        return 0;
    }
    const char *fault = idn_normal(h->host, host);
    if (fault == NULL && ends_in_number(h->host))
        fault = "is not an address";
    if (fault != NULL)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s': host '%.*s' %s (write host:25, [host]:25,"
                       " 192.0.2.1:25 or [::1]:25)",
                       span_clipped(whole), whole.p, span_clipped(host), host.p,
                       fault);
    return 0;
}

/* Cut at the colon of the port: *host without brackets, *port what is behind
 * it; port->p NULL: there is none. */
static const char *cut(struct host_port *h, struct span s, struct span *host,
                       struct span *port)
{
    size_t end = span_find(s, ']');
    size_t colon = span_find(s, ':');

    if (s.n - colon > 2 && s.p[colon + 1] == '/' && s.p[colon + 2] == '/')
        return "is a URL; a host is written smtp.example.net:587";
    h->bracketed = s.n > 0 && s.p[0] == '[';
    *port = (struct span){ NULL, 0 };
    if (h->bracketed && end == s.n)
        return "has a [ without a ], as in [::1]:25";
    if (!h->bracketed) {
        struct addr any;
        end = addr_parse_ip(&any, s, 0) ? s.n : span_find(s, ':');
    }
    *host = h->bracketed ? (struct span){ s.p + 1, end - 1 }
                         : (struct span){ s.p, end };
    struct span rest = { s.p + end, s.n - end };
    if (h->bracketed)
        rest = (struct span){ rest.p + 1, rest.n - 1 };
    if (rest.n == 0)
        return NULL;
    *port = (struct span){ rest.p + 1, rest.n - 1 };
    if (rest.p[0] != ':')
        return "has something behind the ]; a port is written [host]:25";
    if (!h->bracketed && span_find(*port, ':') < port->n)
        return "is not an IPv6 address; with a port it is written [::1]:25";
    return NULL;
}

int host_port_parse(struct host_port *h, struct span text, struct err *e)
{
    struct span host, port;

    memset(h, 0, sizeof *h);
    const char *fault = cut(h, text, &host, &port);
    if (fault != NULL)
        return err_set(e, ERR_USAGE, 0, "'%.*s' %s", span_clipped(text), text.p,
                       fault);
    if (port.p != NULL && take_port(&h->port, port, text, e) != 0)
        return -1;
    return take_host(h, host, text, e);
}

void host_port_text(char out[HOST_PORT_TEXT], const struct host_port *h)
{
    bool brackets = h->bracketed || (h->numeric && addr_is_v6(&h->addr));
    int n = snprintf(out, HOST_PORT_TEXT, brackets ? "[%s]" : "%s", h->host);

    if (h->port != 0)
        snprintf(out + n, HOST_PORT_TEXT - (size_t)n, ":%u", h->port);
}

int addr_parse(struct addr *a, struct span text, uint16_t default_port,
               struct err *e)
{
    struct host_port h;

    if (host_port_parse(&h, text, e) != 0)
        return -1;
    if (!h.numeric)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is not an address (192.0.2.1:25, [::1]:25)",
                       span_clipped(text), text.p);
    *a = h.addr;
    if (h.port == 0)
        addr_set_port(a, default_port);
    return 0;
}
