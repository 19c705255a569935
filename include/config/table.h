/* config/table.h - the one table of settings; for src/config alone.
 *
 * Loader, environment, flags, `mta config`, conf/mta.conf and the manual are
 * readers of these rows.  Defaults are text and pass through the same parser
 * as everything else. */
#ifndef MTA_CONFIG_TABLE_H
#define MTA_CONFIG_TABLE_H

#include "base/host_port.h"
#include "base/span.h"
#include "config/conf.h"

/* Lists stand last. */
enum conf_type {
    CONF_STRING,   /* char[]; bounds are those of the length */
    CONF_PATH,     /* the same; made absolute, except "-" and "" */
    CONF_SECRET,   /* a string that is never printed */
    CONF_ACCOUNT,  /* a string: a user or group, by name or number */
    CONF_HOSTNAME, /* a string: a name or an address in brackets */
    CONF_MAILBOX,  /* a string: user@domain, or empty */
    CONF_INT,      /* long long */
    CONF_TIME,     /* long long, seconds */
    CONF_SIZE,     /* long long, bytes */
    CONF_ENUM,     /* int, the index of the word */
    CONF_WORDS,    /* unsigned, a bit for each word */
    CONF_USERS,    /* struct conf_users */
    CONF_TOKEN,    /* struct conf_token */
    CONF_DOMAINS,  /* struct conf_domains; bounds are those of the number */
    CONF_ADDRS,
    CONF_NETWORKS,
    CONF_LISTENERS,
    CONF_ROUTES,
    CONF_HOPS,
    CONF_RELAYS,
    CONF_FILES,
    CONF_PROVIDERS,
    CONF_DKIM_KEYS,
    CONF_TLS_RULES,
    CONF_LOGINS,
    CONF_REWRITES
};

enum { CONF_ITEMS_MAX = 96, CONF_LIST_MAX = 1024 };

/* Writes the text of a default that depends on the host or on settings of
 * the rows above. */
typedef void conf_derive_fn(const struct conf *c, char *out, size_t size);

struct conf_item {
    const char *key;
    enum conf_type type;
    size_t offset, size;  /* of the field in struct conf */
    const char *fallback; /* the default; an example when derive is set */
    conf_derive_fn *derive;
    const char *derived; /* describes the result of derive */
    long long min, max;
    const char *const *words; /* of an enum or of words */
    const char *help;         /* sentences: comment and manual */
};

extern const struct conf_item conf_items[];
extern const size_t nconf_items; /* <= CONF_ITEMS_MAX */

/* NULL when there is none. */
const struct conf_item *conf_find(struct span key);

/* What another mail system calls by the given name, or NULL: foreign.c. */
const char *conf_foreign(const char *given);

/* The key nearest to the given one, or NULL. */
const char *conf_nearest(const char *given);

/* The word nearest to the given one, or NULL; words end in NULL. */
const char *conf_nearest_word(const char *const *words, const char *given);

/* Is it the name of a group, as "serve" is?  Unbuilt ones too. */
bool conf_is_group(struct span name);

/* Is this a key, a group of keys, or a value of this key, that a later
 * version will have?  The table of them is src/config/unbuilt.c.  Of a value:
 * what to do meanwhile, behind "; ", or ""; NULL: it is none of them. */
bool conf_unbuilt_key(struct span key);
bool conf_unbuilt_group(struct span name);
const char *conf_unbuilt_value(const char *key, struct span value);
#endif
