/* recipient/local_private.h - tables of local addresses, for src/recipient. */
#ifndef MTA_RECIPIENT_LOCAL_PRIVATE_H
#define MTA_RECIPIENT_LOCAL_PRIVATE_H

#include "base/map.h"
#include "config/conf.h"
#include "recipient/alias.h"
#include "recipient/resolve.h"
#include "recipient/users.h"

enum { LOCAL_DELIMITERS_MAX = 8 };

struct local_domain;

struct local {
    struct users *users;
    struct alias_file *aliases; /* NULL: none */
    char alias_path[CONF_PATH_MAX];
    char delimiter[LOCAL_DELIMITERS_MAX];
    unsigned max_targets;
    struct map by_domain;
    struct local_domain *domain;
    size_t ndomains;
    char *name_here;      /* for addresses that have to have a domain */
    local_step_fn *trace; /* NULL: none */
    void *trace_ctx;
};

extern const char local_postmaster[];

/* postmaster or mailer-daemon; name: without a tag. */
bool local_is_special(struct span name);

/* The offset of the tag, or the length of the name. */
size_t local_tag_at(const struct local *l, struct span name);

/* The alias for name@domain, or else for the name; NULL: none. */
struct alias *local_find_alias(const struct local *l, struct span name,
                               struct span domain);
enum user_found local_find_user(const struct local *l, struct span name,
                                struct span domain, char key[LOCAL_KEY_MAX]);

/* Divide at the last "@"; without one domain is empty. */
void local_split(struct span address, struct span *local, struct span *domain);
#endif
