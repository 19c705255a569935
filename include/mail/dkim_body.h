/* mail/dkim_body.h - the body hash of a DKIM signature (RFC 6376 3.7), relaxed
 * canonicalisation and SHA-256, while the message streams by in wire form. */
#ifndef MTA_MAIL_DKIM_BODY_H
#define MTA_MAIL_DKIM_BODY_H

#include "base/digest.h"

struct dkim_body;

/* It expects the rest of a header, from the beginning of a line, and hashes
 * what follows the empty line. */
int dkim_body_new(struct dkim_body **b, struct err *e);
void dkim_body_free(struct dkim_body **b); /* accepts NULL */

/* The header is over. */
void dkim_body_skip_header(struct dkim_body *b);
void dkim_body_add(struct dkim_body *b, const char *p, size_t n);
bool dkim_body_end(struct dkim_body *b, unsigned char hash[DIGEST_SIZE]);
#endif
