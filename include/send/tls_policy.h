/* send/tls_policy.h - how strict TLS is for a destination: send.tls_policy,
 * else send.tls.  Pure. */
#ifndef MTA_SEND_TLS_POLICY_H
#define MTA_SEND_TLS_POLICY_H

#include "base/span.h"
#include "config/conf.h"

#include <stdint.h>

/* By the longest rule for the domain; and at a next hop of the settings, or an
 * address, by the rule for that (one with a port before one without), if there
 * is one.  host: as in struct route. */
enum conf_tls tls_policy_of_domain(const struct conf *c, struct span domain);
enum conf_tls tls_policy_of_hop(const struct conf *c, const char *host,
                                uint16_t port, enum conf_tls otherwise);

const char *tls_policy_name(enum conf_tls level);
#endif
