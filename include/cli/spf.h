/* cli/spf.h - check_host() of RFC 7208 for mail of postmaster of a domain: what
 * receivers will find.
 *
 * The records are those of strangers: any text is accepted, and the number of
 * look-ups is bounded. */
#ifndef MTA_CLI_SPF_H
#define MTA_CLI_SPF_H

#include "cli/check_answer.h"

enum spf_result {
    SPF_NONE, /* no record */
    SPF_NEUTRAL,
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR,
    SPF_PERMERROR,
    SPF_CANNOT_SAY /* it needs a name that our resolver never asks for */
};

/* The term that decided, or the fault; octets of a record as they are. */
struct spf_why {
    char text[200];
};

enum spf_result spf_check(const struct check_lookup *lookup,
                          const struct addr *ip, const char *domain,
                          const char *helo, struct spf_why *why);
#endif
