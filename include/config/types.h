/* config/types.h - the values that text is parsed into; see config/conf.h. */
#ifndef MTA_CONFIG_TYPES_H
#define MTA_CONFIG_TYPES_H

#include "base/addr.h"
#include "base/host_port.h"
#include "base/network.h"
#include "config/tls_rule.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    CONF_NAME_MAX = 256,
    CONF_TEXT_MAX = 1024,
    CONF_PATH_MAX = 1024,
    CONF_ORIGIN_MAX = 256,
    CONF_SECRET_MAX = 1025,
    CONF_MAILBOX_MAX = 255 /* of an address (RFC 5321 4.5.3.1.3), with a NUL */
};

/* Lists are allocated once, in their exact length. */
struct conf_domain {
    char name[CONF_NAME_MAX]; /* in its normal form, or [192.0.2.1] */
};
struct conf_domains {
    size_t n;
    struct conf_domain *item;
};
struct conf_file {
    char path[CONF_PATH_MAX];
};
struct conf_addrs {
    size_t n;
    struct addr *item;
};
struct conf_networks {
    size_t n;
    struct net_cidr *item;
};
struct conf_files {
    size_t n;
    struct conf_file *item;
};
enum conf_role { CONF_ROLE_TLS = 1 }; /* bits */
struct conf_listener {
    struct addr addr; /* of a Unix socket without its path: see path */
    unsigned roles;
    char path[ADDR_UNIX_MAX + 1]; /* "": it is no Unix socket */
};
struct conf_listeners {
    size_t n;
    struct conf_listener *item;
};

/* "example.com=host:25": mail for the domain goes to that next hop; below:
 * ".example.com", for the domains below it; sender: "@example.com", for mail
 * from the domain.  "lmtp:host:24" and "lmtp:unix:/path": by LMTP (RFC 2033).
 */
struct conf_route {
    char domain[CONF_NAME_MAX];
    bool below, sender, lmtp;
    struct host_port to;
    char path[ADDR_UNIX_MAX + 1]; /* "": it is not a Unix socket */
};
struct conf_routes {
    size_t n;
    struct conf_route *item;
};

struct conf_hops {
    size_t n;
    struct host_port *item;
};
/* "example.com", accepted from any client and sent on; below: ".example.com",
 * for the domains below it. */
struct conf_relay {
    char domain[CONF_NAME_MAX];
    bool below;
    char recipients[CONF_PATH_MAX]; /* file of those that exist; empty: all */
};
struct conf_relays {
    size_t n;
    struct conf_relay *item;
};
/* "google=.google.com": hosts of that name, or below it, share the pace of the
 * group. */
struct conf_provider {
    char group[32];
    char suffix[CONF_NAME_MAX]; /* with a dot in front: all hosts below */
};
struct conf_providers {
    size_t n;
    struct conf_provider *item;
};

/* "example.com:selector:/path" */
struct conf_dkim_key {
    char domain[CONF_NAME_MAX], selector[CONF_NAME_MAX];
    char path[CONF_PATH_MAX];
};
struct conf_dkim_keys {
    size_t n;
    struct conf_dkim_key *item;
};

enum conf_log_level { CONF_DEBUG, CONF_INFO, CONF_WARN, CONF_ERROR };
enum conf_log_format { CONF_LOG_TEXT, CONF_LOG_JSON };
enum conf_mailbox { CONF_MAILBOX_AUTO, CONF_MAILDIR, CONF_MBOX };
enum conf_rdns { CONF_RDNS_OFF, CONF_RDNS_WARN, CONF_RDNS_REQUIRE };
enum conf_dsn { CONF_DSN_ALL, CONF_DSN_RELAY_NETWORKS, CONF_DSN_NONE };
enum conf_early_talk { CONF_EARLY_TALK_REJECT, CONF_EARLY_TALK_ACCEPT };
enum conf_newline { CONF_NEWLINE_REJECT, CONF_NEWLINE_NORMALIZE };
enum conf_extra {
    CONF_EXTRA_NOOP = 1,
    CONF_EXTRA_HELP = 2,
    CONF_EXTRA_STARTTLS = 4
};

enum conf_user_source { CONF_USERS_PASSWD, CONF_USERS_ANY, CONF_USERS_FILE };
struct conf_users {
    enum conf_user_source source;
    char path[CONF_PATH_MAX]; /* of the file */
};

/* Local delivery, for server and sender. */
struct conf_local {
    struct conf_domains domains;  /* default: localhost and hostname */
    char mail_dir[CONF_PATH_MAX]; /* "~/..." is below the user's home */
    char user[CONF_NAME_MAX];     /* owns mailboxes, unless users is passwd */
    int mailbox;
    struct conf_users users;
    char aliases[CONF_PATH_MAX]; /* empty: none */
    bool aliases_usual;          /* not named by the operator */
    long long max_targets;
    char recipient_delimiter[8];
    char root[CONF_NAME_MAX]; /* rewrite.root; empty: as the aliases have it */
};
#endif
