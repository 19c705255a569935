#include "send/own_host.h"

#include "base/host_port.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRS_MAX = 128 };

static void add(struct own_host *self, struct addr *list, const struct addr *a)
{
    if (self->n < ADDRS_MAX)
        list[self->n++] = *a;
}

static void add_interfaces(struct own_host *self, struct addr *list,
                           const struct ifaddrs *all, const struct addr *a)
{
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        struct addr at;
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != a->u.sa.sa_family)
            continue;
        addr_from_sockaddr(&at, i->ifa_addr);
        addr_set_port(&at, addr_port(a));
        add(self, list, &at);
    }
}

int own_host_load(struct own_host *self, const struct conf *c, struct err *e)
{
    struct addr *list = calloc(ADDRS_MAX, sizeof *list);
    struct ifaddrs *all = NULL;

    *self = (struct own_host){ .hostname = c->hostname, .addr = list };
    if (list == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for our addresses");
    if (getifaddrs(&all) != 0)
        all = NULL; /* without them only the name detects a loop */
    for (size_t i = 0; i < c->serve.listen.n; i++) {
        const struct addr *a = &c->serve.listen.item[i].addr;
        if (addr_is_unix(a)) /* only programs of this host submit there */
            continue;
        add(self, list, a);
        if (addr_is_any(a))
            add_interfaces(self, list, all, a);
    }
    if (all != NULL)
        freeifaddrs(all);
    return 0;
}

/* 0.0.0.0/8 and ::, which connect() takes for this host. */
static bool is_this_host(const struct addr *a)
{
    unsigned char p[16];

    addr_bytes(p, a);
    return addr_is_v6(a) ? addr_is_any(a) : p[12] == 0;
}

bool own_host_has(const struct own_host *self, const struct addr *a,
                  bool configured)
{
    if (addr_is_unix(a)) /* no listener of ours is one */
        return false;
    if (is_this_host(a) && !configured)
        return true;
    bool local = addr_is_loopback(a) || is_this_host(a);
    for (size_t i = 0; i < self->n; i++) {
        const struct addr *own = &self->addr[i];
        if (addr_port(own) != addr_port(a))
            continue;
        if (addr_same_host(own, a) ||
            (local && (!configured ||
                       (addr_is_any(own) && addr_is_v6(own) == addr_is_v6(a)))))
            return true;
    }
    return false;
}

bool own_host_has_port(const struct own_host *self, uint16_t port)
{
    for (size_t i = 0; i < self->n; i++)
        if (addr_port(&self->addr[i]) == port)
            return true;
    return false;
}

/* A listener at that port; for a name of loopback one that loopback reaches,
 * else one that does not stand on loopback alone. */
static bool listens(const struct conf *c, uint16_t port, bool loopback)
{
    for (size_t i = 0; i < c->serve.listen.n; i++) {
        const struct addr *a = &c->serve.listen.item[i].addr;
        if (addr_port(a) == port &&
            (addr_is_any(a) || addr_is_loopback(a) == loopback))
            return true;
    }
    return false;
}

bool own_host_is(const struct own_host *self, const struct conf *c,
                 const struct host_port *to)
{
    uint16_t port = to->port != 0 ? to->port : (uint16_t)c->send.port;
    struct addr at = to->addr;

    if (!to->numeric) {
        bool loopback = strcmp(to->host, "localhost") == 0;
        return (loopback || strcmp(to->host, self->hostname) == 0) &&
               listens(c, port, loopback);
    }
    addr_set_port(&at, port);
    return own_host_has(self, &at, true);
}

void own_host_done(struct own_host *self)
{
    free((void *)(uintptr_t)self->addr);
    *self = (struct own_host){ .n = 0 };
}
