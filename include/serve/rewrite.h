/* serve/rewrite.h - the rewriting of one transaction (mail/rewrite.h). */
#ifndef MTA_SERVE_REWRITE_H
#define MTA_SERVE_REWRITE_H

#include "mail/rewrite.h"

struct serve_rewrite {
    struct rewrite_header *header; /* NULL: it stays as it is */
    struct rewrite_notes notes;
    char sender[SMTP_ADDRESS_MAX];
};

struct serve_rewrite *serve_rewrite_new(void);     /* NULL: no memory */
void serve_rewrite_free(struct serve_rewrite **r); /* accepts NULL */

/* As rewrite_envelope(); r NULL: nothing is rewritten. */
bool serve_rewrite_address(struct serve_rewrite *r, const struct conf *c,
                           enum conf_rewrite_of of, struct span address,
                           char out[SMTP_ADDRESS_MAX]);

/* A header comes; the job's sender is copied, its notes are those of r. */
int serve_rewrite_header(struct serve_rewrite *r, const struct rewrite_job *job,
                         struct err *e);
#endif
