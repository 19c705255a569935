/* cli/spf.h - check_host() of RFC 7208 for mail of postmaster of a
 * domain: what receivers will find. */
#ifndef MTA_CLI_SPF_H
#define MTA_CLI_SPF_H

#include "cli/check.h"

enum spf_result {
    SPF_NONE, /* no record */
    SPF_NEUTRAL,
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR,
    SPF_PERMERROR
};

/* The look-ups: one waits for its answer. */
struct spf_ask {
    void (*fn)(void *ctx, const char *name, enum dns_type type,
               struct check_answer *a);
    void *ctx;
};

/* The term that decided, or the fault. */
struct spf_why {
    char text[200];
};

enum spf_result spf_check(const struct spf_ask *ask, const struct addr *ip,
                          const char *domain, const char *helo,
                          struct spf_why *why);
#endif
