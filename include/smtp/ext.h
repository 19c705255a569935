/* smtp/ext.h - the service extensions that a server offers: the keywords of its
 * reply to EHLO (RFC 5321 4.1.1.1). */
#ifndef MTA_SMTP_EXT_H
#define MTA_SMTP_EXT_H

#include "base/span.h"

enum {
    SMTP_EXT_PIPELINING = 1,
    SMTP_EXT_SIZE = 2,
    SMTP_EXT_8BITMIME = 4,
    SMTP_EXT_STARTTLS = 8,
    SMTP_EXT_CHUNKING = 16,
    SMTP_EXT_SMTPUTF8 = 32,
    SMTP_EXT_DSN = 64,
    SMTP_EXT_AUTH = 128,
    SMTP_EXT_ENHANCED = 256
};
struct smtp_ext {
    unsigned bits;
    unsigned long long size;         /* limit of SIZE; 0: none given */
    unsigned limit_mail, limit_rcpt; /* RFC 9422 LIMITS; 0: none given */
    char auth[128];                  /* mechanisms, as written, one blank
                                        between; as many as fit */
};
/* Add one line of the reply, each but the first. */
void smtp_ext_line(struct smtp_ext *x, struct span keyword_line);
#endif
