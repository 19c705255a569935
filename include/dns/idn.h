/* dns/idn.h - the DNS form of a domain with U-labels (RFC 6531, RFC 5891).
 *
 * IDNA 2008 with the mapping of UTS #46, non-transitional, by libidn2.  A
 * domain in ASCII is copied as it is. */
#ifndef MTA_DNS_IDN_H
#define MTA_DNS_IDN_H

#include "dns/resolver.h"

#include <stdbool.h>

/* False: not UTF-8, or not a name that IDNA allows; out is then empty. */
bool dns_idn_ascii(char out[DNS_NAME_MAX], const char *domain);
#endif
