/* serve/certificates.h - the certificates and keys of the server, as the
 * settings serve.tls_cert and serve.tls_key name them.
 *
 * Files are read by handdown_read(): by name, or the copies handed down. */
#ifndef MTA_SERVE_CERTIFICATES_H
#define MTA_SERVE_CERTIFICATES_H

#include "config/conf.h"
#include "net/tls.h"

#include <stdint.h>

/* All of them for one context.  *t is NULL if there are none, and after a
 * failure; *e then names the setting and its place. */
int serve_certificates_load(struct tls_context **t, const struct conf *c,
                            struct err *e);

struct serve_certificate {
    const char *path;
    int64_t from, until; /* in seconds of the epoch */
    uint32_t crc;        /* of its text */
    bool names_host;     /* the hostname of the settings */
};

/* Call fn for each.  Files that cannot be read are left out. */
typedef void serve_certificate_fn(void *ctx, const struct serve_certificate *x);
void serve_certificates_each(const struct conf *c, serve_certificate_fn *fn,
                             void *ctx);
#endif
