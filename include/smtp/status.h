/* smtp/status.h - reply code and enhanced status code (RFC 5321 4.2.1,
 * RFC 3463): one value on its way from a reply to the slot in the queue and
 * to the notice.  Plain data, free to copy; the text stands beside it in a
 * buffer of its owner.  Pure functions. */
#ifndef MTA_SMTP_STATUS_H
#define MTA_SMTP_STATUS_H

#include "base/span.h"

#include <stdbool.h>

struct smtp_status {
    unsigned short code;  /* of the reply; 0: decided here, without a reply */
    unsigned short class; /* of the enhanced code; 0: none given */
    unsigned short subject, detail;
};

enum { SMTP_STATUS_TEXT = 12 }; /* "5.999.999" and NUL, rounded up */

/* Parse "5.1.1" and the blanks behind it at the front of *text, and advance
 * *text.  False, with nothing changed: *text begins with no enhanced code. */
bool smtp_status_take(struct smtp_status *s, struct span *text);
/* "" without a class. */
void smtp_status_text(char out[SMTP_STATUS_TEXT], const struct smtp_status *s);
#endif
