/* certs.h - certificates for tests, made when they are needed. */
#ifndef MTA_TEST_CERTS_H
#define MTA_TEST_CERTS_H

#include "net/tls.h"

struct cert_made {
    char *cert, *key; /* PEM; the certificate alone */
    void *x509, *pkey;
};

enum cert_key { CERT_EC, CERT_RSA };

struct cert_wish {
    const char *names;              /* "a.test b.test" in the DNS names */
    const char *common;             /* of the subject; NULL: "test" */
    const struct cert_made *issuer; /* NULL: itself */
    enum cert_key key;
    bool ca, expired;
};

void cert_make(struct cert_made *c, const struct cert_wish *wish);
void cert_free(struct cert_made *c);
struct tls_pair cert_pair(const struct cert_made *c);

/* Write the certificate to a file that the caller removes. */
void cert_write(const struct cert_made *c, const char *path);
#endif
