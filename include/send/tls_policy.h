/* send/tls_policy.h - how strict TLS is for a destination: send.tls_policy,
 * else send.tls.  Pure. */
#ifndef MTA_SEND_TLS_POLICY_H
#define MTA_SEND_TLS_POLICY_H

#include "base/span.h"
#include "config/conf.h"

#include <stdint.h>

/* The longest rule for the domain; the rule for a next hop of the settings, or
 * an address (one with a port before one without), which goes first.  NULL:
 * there is none.  host: as in struct route. */
const struct conf_tls_rule *tls_policy_of_domain(const struct conf *c,
                                                 struct span domain);
const struct conf_tls_rule *tls_policy_of_hop(const struct conf *c,
                                              const char *host, uint16_t port);

/* The level of the rule, if there is one. */
enum conf_tls tls_policy_level(const struct conf_tls_rule *rule,
                               enum conf_tls otherwise);

const char *tls_policy_name(enum conf_tls level);

/* At this port TLS begins at once, before the greeting (RFC 8314 7.3). */
enum { TLS_FIRST_PORT = 465 };

/* Can a session need TLS: by a level, or by the port of a next hop? */
bool tls_policy_needs_tls(const struct conf *c);
#endif
