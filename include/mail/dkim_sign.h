/* mail/dkim_sign.h - the DKIM-Signature field of a message (RFC 6376, 8301,
 * 8463): relaxed/relaxed, rsa-sha256 or ed25519-sha256.
 *
 * The caller reads header (mail/dkim_header.h) and body (mail/dkim_body.h),
 * begins a field, signs the hash with the key, and ends the field with the
 * signature. */
#ifndef MTA_MAIL_DKIM_SIGN_H
#define MTA_MAIL_DKIM_SIGN_H

#include "base/body.h"
#include "base/buf.h"
#include "base/digest_key.h"
#include "mail/dkim_header.h"

enum {
    DKIM_FIELD_MAX = 4096 /* octets of a field, with its signature */
};

struct dkim_signer {
    const char *domain, *selector;
    enum digest_key_type type;
    uint64_t now; /* seconds since 1970 */
};

/* Append the field up to its "b=", where the signature will stand. */
void dkim_field_begin(struct buf *field, const struct dkim_signer *s,
                      const struct dkim_header *h,
                      const unsigned char body_hash[DIGEST_SIZE]);

/* The hash to be signed: over the fields of the header, read from `text`, and
 * the field that was begun.  -1 with *e: the text could not be read; ERR_TEMP
 * with the errno of body_read(). */
int dkim_header_hash(unsigned char hash[DIGEST_SIZE], struct digest *d,
                     const struct dkim_header *h, const struct body *text,
                     struct span field, struct err *e);

/* Append the signature, and the line end. */
void dkim_field_end(struct buf *field, const struct digest_signature *s);
#endif
