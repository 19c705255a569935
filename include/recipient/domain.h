/* recipient/domain.h - domains in the form in which they are compared.  For
 * src/recipient and the routes of the sender.
 *
 * A domain has two spellings, with U-labels and with A-labels (RFC 5890
 * 2.3.2.1), which name the same mailboxes (RFC 6531 3.3).  The form here is
 * that with A-labels.  The case of letters is left to the caller. */
#ifndef MTA_RECIPIENT_DOMAIN_H
#define MTA_RECIPIENT_DOMAIN_H

#include "base/span.h"

enum { DOMAIN_MAX = 256, DOMAIN_ADDRESS_MAX = 640 };

/* The domain itself when it is ASCII, or is not a name that IDNA allows;
 * otherwise its A-labels, in out. */
struct span domain_ascii(char out[DOMAIN_MAX], struct span domain);

/* The same for the part behind the last "@"; without one: the name. */
struct span domain_ascii_address(char out[DOMAIN_ADDRESS_MAX],
                                 struct span address);
#endif
