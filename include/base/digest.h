/* base/digest.h - SHA-256 (FIPS 180-4), in pieces or at once.
 *
 * On OpenSSL's EVP.  A digest belongs to one thread.  It may be used again and
 * again: that saves the memory and the look-up of the algorithm, which cost
 * more than the hash of a short text. */
#ifndef MTA_BASE_DIGEST_H
#define MTA_BASE_DIGEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { DIGEST_SIZE = 32 }; /* octets of a SHA-256 */

struct digest; /* a hash in the making */

/* It is ready for the first octets. */
int digest_new(struct digest **d, struct err *e);
void digest_free(struct digest **d); /* accepts NULL */

/* Forget what was added, to begin another one. */
void digest_start(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t n);
/* False: a call of the library has failed since the start.  Another hash
 * begins with digest_start(). */
bool digest_end(struct digest *d, unsigned char out[DIGEST_SIZE]);

/* All at once. */
int digest_sha256(const void *data, size_t n, unsigned char out[DIGEST_SIZE],
                  struct err *e);
#endif
