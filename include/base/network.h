/* base/network.h - networks by address and prefix (CIDR, RFC 4632). */
#ifndef MTA_BASE_NETWORK_H
#define MTA_BASE_NETWORK_H

#include "base/addr.h"
#include "base/err.h"

struct net_cidr {
    struct addr base;
    unsigned bits;
};

/* "10.0.0.0/8", "::1/128", or an address alone.  Bits beyond the prefix must
 * be zero.  0, or -1 with *e. */
int net_cidr_parse(struct net_cidr *c, struct span text, struct err *e);
void net_cidr_text(char out[ADDR_PORT_TEXT], const struct net_cidr *c);
bool net_cidr_has(const struct net_cidr *c, const struct addr *a);
#endif
