/* policy/policy_private.h - the checks, for the table in policy.c. */
#ifndef MTA_POLICY_POLICY_PRIVATE_H
#define MTA_POLICY_POLICY_PRIVATE_H

#include "policy/policy.h"

/* rdns.c */
struct verdict policy_rdns_begin(struct policy *p);
struct verdict policy_rdns_require(struct policy *p);
struct verdict policy_rdns_note(struct policy *p);
void policy_rdns_cancel(struct policy *p);
#endif
