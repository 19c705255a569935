/* dns/mx.h - the mail hosts of a domain, with addresses (RFC 5321 5.1).
 *
 * MX records ordered by preference, equal ones shuffled; no MX: the domain's
 * own addresses (implicit MX); null MX (RFC 7505) is MX_NULL.  A host without
 * an address is left out unless all hosts are.  A host whose look-up fails for
 * now is left out if another has an address; the answer is then valid for a
 * minute only.  An MX that is a CNAME is followed.  Addresses of each host:
 * IPv6 first when wanted, then IPv4; MX_ADDRS_MAX at random if there are more.
 * A domain with U-labels is looked up by its A-labels (base/idn.h).  Address
 * literals such as [1.2.3.4] are not accepted. */
#ifndef MTA_DNS_MX_H
#define MTA_DNS_MX_H

#include "dns/resolver.h"

#include <stddef.h>

enum { MX_HOSTS_MAX = 16, MX_ADDRS_MAX = 8 };

struct mx_host {
    uint16_t preference;
    char name[DNS_NAME_MAX];
    size_t naddr;
    struct addr addr[MX_ADDRS_MAX];
};

enum mx_status {
    MX_OK,        /* at least one host with an address */
    MX_NULL,      /* "MX 0 .": accepts no mail */
    MX_NO_DOMAIN, /* NXDOMAIN, or neither MX nor addresses */
    MX_NO_HOST,   /* MX exist, but no host of them has an address, or a name
                   * that a host can have: permanent */
    MX_TEMP       /* a needed look-up failed for now */
};

struct mx_result {
    enum mx_status status;
    bool unusable; /* with MX_TEMP: as in struct dns_answer */
    char why[256];
    uint32_t ttl; /* seconds this may be kept; 0 with MX_TEMP */
    size_t nhost;
    struct mx_host host[MX_HOSTS_MAX];
};

struct mx_query;
typedef void mx_fn(void *ctx, const struct mx_result *r);

enum {
    MX_V4 = 1, /* families wanted */
    MX_V6 = 2,
    MX_BOTH = 3,
    MX_DIRECT = 4 /* only the addresses of `domain` itself (smarthosts) */
};

/* want: bits of the above.  The callback comes from the loop, never from
 * inside; the query is freed before it. */
struct mx_query *mx_ask(struct dns *d, const char *domain, unsigned want,
                        mx_fn *fn, void *ctx, struct err *e);
void mx_cancel(struct mx_query *q);
#endif
