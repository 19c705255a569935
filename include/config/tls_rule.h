/* config/tls_rule.h - how strict TLS to other hosts is; see config/conf.h. */
#ifndef MTA_CONFIG_TLS_RULE_H
#define MTA_CONFIG_TLS_RULE_H

#include "base/host_port.h"

#include <stdbool.h>
#include <stddef.h>

/* Each is stricter than those before. */
enum conf_tls {
    CONF_TLS_NONE,
    CONF_TLS_MAY,
    CONF_TLS_ENCRYPT,
    CONF_TLS_VERIFY
};

/* "example.com=verify", ".example.com=encrypt" for the domains below it; a next
 * hop in place of the domain: "[host]:587=verify", "host:587=verify". */
struct conf_tls_rule {
    struct host_port to; /* host: the domain */
    bool below;
    int level; /* enum conf_tls */
};
struct conf_tls_rules {
    size_t n;
    struct conf_tls_rule *item;
};
#endif
