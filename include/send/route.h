/* send/route.h - the route of mail for a domain.  Pure.
 *
 * First match: a local domain, the longest entry of send.routes
 * ("example.com=..." for the domain, ".example.com=..." for its subdomains),
 * the longest one for the sender's domain ("@example.com=..."),
 * send.relay_host, an address literal, MX. */
#ifndef MTA_SEND_ROUTE_H
#define MTA_SEND_ROUTE_H

#include "base/err.h"
#include "base/span.h"
#include "config/conf.h"

#include <stdbool.h>
#include <stdint.h>

enum route_kind {
    ROUTE_LOCAL,
    ROUTE_MX,       /* MX of host, or its addresses if it has none */
    ROUTE_HOST,     /* the addresses of host, no MX */
    ROUTE_ADDRESS,  /* host is an address */
    ROUTE_LOOPBACK, /* localhost (RFC 6761 6.3) of a setting */
    ROUTE_UNIX,     /* a socket of this host: path, and host shows it */
    ROUTE_BAD       /* no route; `why` has the reason */
};

struct route {
    enum route_kind kind;
    char host[CONF_NAME_MAX]; /* lower case, but for a path */
    uint16_t port;
    bool configured;     /* the next hop is a setting, not the mail's domain */
    bool lmtp;           /* LMTP (RFC 2033) is spoken there */
    unsigned char relay; /* of so manyth host of send.relay_host; 0: of none */
    unsigned char login; /* ROUTE_NO_LOGIN ... */
    /* What its mail accepts; of a relay, before the rule for that host. */
    enum conf_tls tls, mail_tls;
    const char *path; /* of the settings; NULL: no socket of this host */
    const char *why;  /* of ROUTE_BAD */
    /* What decided; NULL: no entry of the list did. */
    const struct conf_route *entry; /* of send.routes */
    /* Of send.tls_policy, for tls and for mail_tls. */
    const struct conf_tls_rule *tls_rule, *mail_tls_rule;
};

/* The login at the next hop: from ROUTE_LOGINS on one of send.logins. */
enum { ROUTE_NO_LOGIN, ROUTE_RELAY_USER, ROUTE_LOGINS };

/* sender: the domain of the reverse-path, or empty.  is_local: what
 * local_has_domain() says of the domain. */
void route_find(struct route *r, const struct conf *c, struct span domain,
                struct span sender, bool is_local);

/* The route to a host of send.relay_host, counted from 1. */
void route_relay(struct route *r, const struct conf *c, unsigned relay,
                 enum conf_tls mail_tls);

/* The route to the host of an element of send.logins; its login may be that of
 * an element before it with the same host. */
void route_login(struct route *r, const struct conf *c, unsigned element);

/* Does a route look at the sender? */
bool route_by_sender(const struct conf *c);

/* Does a setting name a next hop?  Only then the hosts file is needed. */
bool route_has_settings(const struct conf *c);

/* Does a route lead to a Unix socket?  Only then the sender may have one. */
bool route_has_unix(const struct conf *c);

/* One text for routes that are one destination, without blanks:
 * "mx/example.com/25"; "setting/" in front of a next hop of send.routes,
 * "relay/" of one of send.relay_host; "/encrypt" or "/verify" behind one that
 * demands TLS.
 */
enum { ROUTE_KEY_MAX = CONF_NAME_MAX + 32 };
void route_key(char out[ROUTE_KEY_MAX], const struct route *r);
#endif
