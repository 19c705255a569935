/* base/digest_hmac.h - HMAC-SHA-256 (RFC 2104) and what SCRAM makes of it.
 *
 * On OpenSSL.  For any thread.  -1 with *e (ERR_TEMP) when a call of the
 * library fails, as for want of memory. */
#ifndef MTA_BASE_DIGEST_HMAC_H
#define MTA_BASE_DIGEST_HMAC_H

#include "base/digest.h"
#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>

enum { HMAC_SIZE = 32 };

int hmac_sha256(unsigned char out[HMAC_SIZE], struct span key, struct span text,
                struct err *e);

/* PBKDF2 with HMAC-SHA-256 (RFC 8018 5.2) for one block: Hi() of SCRAM.  A
 * round takes about half a microsecond, so the owner goes on in slices.  All
 * zero: not begun. */
struct pbkdf2 {
    struct digest *digest;
    unsigned char inner[64], outer[64]; /* the password, for HMAC */
    unsigned char last[HMAC_SIZE], sum[HMAC_SIZE];
    unsigned left; /* rounds */
};

int pbkdf2_begin(struct pbkdf2 *p, struct span password, struct span salt,
                 unsigned rounds, struct err *e);
/* So many rounds at most.  1: `sum` is the result; 0: go on. */
int pbkdf2_go_on(struct pbkdf2 *p, unsigned rounds, struct err *e);
void pbkdf2_end(struct pbkdf2 *p); /* wipes it, at any time */

/* In a time that does not depend on where they differ. */
bool digest_same(const void *a, const void *b, size_t n);

/* Octets from the system's source of secrets. */
int digest_random(void *out, size_t n, struct err *e);
#endif
