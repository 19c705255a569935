/* base/idn.h - names of domains and hosts in the one form in which they are
 * compared and put on the wire: lower case, A-labels, no final dot. */
#ifndef MTA_BASE_IDN_H
#define MTA_BASE_IDN_H

#include "base/span.h"

#include <stdbool.h>

enum { IDN_MAX = 256 };

/* The DNS form of a domain with U-labels (RFC 6531, RFC 5891): IDNA 2008 with
 * the mapping of UTS #46, non-transitional, by libidn2.  A domain in ASCII is
 * copied as it is.  False: not UTF-8, or not a name that IDNA allows; out is
 * then empty. */
bool idn_ascii(char out[IDN_MAX], const char *domain);

/* The one form of a name that stands in a setting: labels of letters, digits,
 * "-" and "_" (RFC 5321 4.1.2; "_" is in use).  NULL, or a text that names
 * the fault; out is then empty. */
const char *idn_normal(char out[IDN_MAX], struct span name);
#endif
