/* cli/dmarc.h - the DMARC policy that mail of a domain meets, and which
 * signatures are in line with it (RFC 9989).
 *
 * The records are those of strangers: any text is accepted, and the number of
 * look-ups is bounded. */
#ifndef MTA_CLI_DMARC_H
#define MTA_CLI_DMARC_H

#include "cli/check_answer.h"

enum dmarc_wish { DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT };

enum dmarc_status {
    DMARC_FOUND,
    DMARC_NO_RECORD,
    DMARC_FAILED /* cannot be known now: why */
};

struct dmarc_policy {
    enum dmarc_status status;
    char domain[DNS_NAME_MAX]; /* that has the record */
    char org[DNS_NAME_MAX];    /* the Organizational Domain */
    enum dmarc_wish wish;      /* for mail of the domain asked for */
    bool testing;              /* it is not applied yet */
    bool strict;               /* only signatures of that very domain do */
    char why[200];
};

void dmarc_find(struct dmarc_policy *p, const struct check_lookup *l,
                const char *domain);

/* Is a signature by `signer` (d=) in line with the policy of mail of the
 * domain?  DMARC_FOUND: yes; DMARC_NO_RECORD: no; DMARC_FAILED, with p->why. */
enum dmarc_status dmarc_judge(struct dmarc_policy *p,
                              const struct check_lookup *l, const char *domain,
                              const char *signer);
#endif
