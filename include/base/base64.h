/* base/base64.h - base64 (RFC 4648 4), in one piece, without line breaks.
 *
 * Pure.  Octets that must not stay in memory are the caller's to wipe. */
#ifndef MTA_BASE_BASE64_H
#define MTA_BASE_BASE64_H

#include "base/buf.h"
#include "base/err.h"

/* The size of the text of n octets, without a NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* Append the text of the octets; what does not fit sets out->full. */
void base64_encode(struct buf *out, struct span octets);

/* Append the octets of the text.  -1 with *e (ERR_PROTO) for text that is not
 * base64: another character, a length that is no multiple of four, padding in
 * the middle, bits behind the last octet; or for octets that do not fit. */
int base64_decode(struct buf *out, struct span text, struct err *e);
#endif
