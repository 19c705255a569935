#include "send/route_addresses.h"

#include <sys/socket.h>
#include <unistd.h>

size_t route_addresses(const struct route *r, const struct dns_hosts *hosts,
                       struct addr out[MX_ADDRS_MAX])
{
    switch (r->kind) {
    case ROUTE_ADDRESS: return addr_parse_ip(out, span_of(r->host), 0);
    case ROUTE_LOOPBACK:
        addr_from_v6(&out[0], &in6addr_loopback, 0);
        addr_from_v4(&out[1], (const unsigned char[]){ 127, 0, 0, 1 }, 0);
        return 2;
    case ROUTE_UNIX: addr_from_path(&out[0], r->path); return 1;
    case ROUTE_MX:
    case ROUTE_HOST:
        return r->configured ? dns_hosts_find(hosts, r->host, out, MX_ADDRS_MAX)
                             : 0;
    case ROUTE_LOCAL:
    case ROUTE_BAD: break;
    }
    return 0;
}

unsigned route_mx_want(enum route_kind kind)
{
    return kind == ROUTE_MX ? MX_BOTH : MX_BOTH | MX_DIRECT;
}

/* Connecting a UDP socket only consults the routing table. */
bool route_is_reachable(const struct addr *a)
{
    struct addr to = *a;
    int fd = socket(a->u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    addr_set_port(&to, 9);
    bool ok = addr_connect(fd, &to) == 0;
    close(fd);
    return ok;
}
