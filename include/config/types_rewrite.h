/* config/types_rewrite.h - rules for addresses; see config/conf.h. */
#ifndef MTA_CONFIG_TYPES_REWRITE_H
#define MTA_CONFIG_TYPES_REWRITE_H

#include "config/types.h"

/* "sender PATTERN=ADDRESS": addresses that fit become that one. */
enum conf_rewrite_of { CONF_REWRITE_SENDER = 1, CONF_REWRITE_RECIPIENT = 2 };
struct conf_rewrite {
    unsigned of;                /* bits of enum conf_rewrite_of */
    bool any;                   /* "*": every address */
    bool below;                 /* "user@.example.com": the domains below it */
    char local[CONF_NAME_MAX];  /* empty: every local part */
    char domain[CONF_NAME_MAX]; /* empty: those of this host */
    char to_local[CONF_NAME_MAX];  /* empty: it stays as it is */
    char to_domain[CONF_NAME_MAX]; /* empty: hostname */
};
struct conf_rewrites {
    size_t n;
    struct conf_rewrite *item;
};
struct conf_rewriting { /* rewrite.root is local.root */
    char from[CONF_NAME_MAX];
    struct conf_rewrites rules; /* the first that fits */
};

/* As it is written in the settings. */
void conf_rewrite_text(char *out, size_t size, const struct conf_rewrite *r);
#endif
