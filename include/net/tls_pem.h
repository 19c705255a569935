/* net/tls_pem.h - facts of a certificate in PEM text. */
#ifndef MTA_NET_TLS_PEM_H
#define MTA_NET_TLS_PEM_H

#include "base/span.h"

#include <stdint.h>

/* When the first certificate of the text is valid, in seconds of the epoch.
 * False: there is none. */
bool tls_pem_dates(struct span text, int64_t *from, int64_t *until);

/* Has it that DNS name? */
bool tls_pem_names(struct span text, const char *name);
#endif
