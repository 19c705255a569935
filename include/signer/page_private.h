/* signer/page_private.h - what the signer shows its parent.  For src/signer
 * alone. */
#ifndef MTA_SIGNER_PAGE_PRIVATE_H
#define MTA_SIGNER_PAGE_PRIVATE_H

#include "signer/signer.h"

struct signer_page {
    unsigned long progress; /* one more for each message and signature */
};
#endif
