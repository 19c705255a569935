/* base/digest_key.h - private keys, and signatures of a SHA-256 with them.
 *
 * RSA of 2048 to 4096 bits (PKCS #1 v1.5, RFC 8301) and Ed25519 (RFC 8032), as
 * DKIM has them.  A key belongs to one thread.  Functions return 0, or -1 with
 * *e. */
#ifndef MTA_BASE_DIGEST_KEY_H
#define MTA_BASE_DIGEST_KEY_H

#include "base/digest.h"
#include "base/span.h"

enum digest_key_type { DIGEST_KEY_RSA, DIGEST_KEY_ED25519 };

enum {
    DIGEST_KEY_BITS_MIN = 2048, /* of RSA */
    DIGEST_KEY_BITS_MAX = 4096,
    DIGEST_SIGNATURE_MAX = DIGEST_KEY_BITS_MAX / 8,
    DIGEST_KEY_PUBLIC_MAX = 800, /* octets of a public key */
    DIGEST_KEY_PEM_MAX = 4096    /* characters of a private key */
};

struct digest_key;

/* From the text of a PEM file: the first private key in it. */
int digest_key_parse(struct digest_key **k, struct span pem, struct err *e);
/* From a file, or the copy of it that was handed down (base/handdown.h). */
int digest_key_load(struct digest_key **k, const char *path, struct err *e);
int digest_key_generate(struct digest_key **k, enum digest_key_type type,
                        struct err *e);
void digest_key_free(struct digest_key **k); /* accepts NULL; wipes it */

enum digest_key_type digest_key_type(const struct digest_key *k);

struct digest_signature {
    size_t n;
    unsigned char octets[DIGEST_SIGNATURE_MAX];
};
int digest_key_sign(struct digest_key *k, const unsigned char hash[DIGEST_SIZE],
                    struct digest_signature *s, struct err *e);

/* The public key, as a DKIM record has it before base64: of RSA a
 * SubjectPublicKeyInfo (RFC 6376 3.6.1), of Ed25519 the 32 octets (RFC 8463
 * 4.2). */
struct digest_public {
    size_t n;
    unsigned char octets[DIGEST_KEY_PUBLIC_MAX];
};
int digest_key_public(const struct digest_key *k, struct digest_public *p,
                      struct err *e);

/* The private key as PEM (PKCS #8), with a NUL; digest_wipe() it. */
int digest_key_pem(const struct digest_key *k, char out[DIGEST_KEY_PEM_MAX],
                   struct err *e);

/* Overwrite a secret; the compiler does not leave it out. */
void digest_wipe(void *p, size_t n);
#endif
