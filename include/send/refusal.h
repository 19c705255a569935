/* send/refusal.h - what a refusal says about this system as a sender, beyond
 * the message in hand: that it sends too much, has too many sessions, is not
 * wanted at all, or has to come again later.  Pure.
 *
 * Codes come first, because they are meant for programs; the texts of large
 * receivers and of usual software decide where the code says nothing.  A reply
 * that is about one message, one recipient or one domain is OTHER, however
 * much it resembles one about this system: a pace is shared, and mail that is
 * innocent would wait. */
#ifndef MTA_SEND_REFUSAL_H
#define MTA_SEND_REFUSAL_H

#include "smtp/status.h"

#include <stdbool.h>
#include <stdint.h>

enum refusal_kind {
    REFUSAL_OTHER,
    REFUSAL_GREYLISTED, /* of this message: come again in a few minutes */
    REFUSAL_RATE,       /* too much mail */
    REFUSAL_SESSIONS,   /* too many connections */
    REFUSAL_BLOCKED     /* nothing from our address is taken */
};

struct refusal {
    enum refusal_kind kind;
    bool by_code;      /* of a rate: its code says so, not only its words */
    bool of_recipient; /* the same: or it is that of a host behind */
    uint32_t seconds;  /* after which to try again, as the reply says; 0: it
                       * does not */
};

/* No message is named yet (greeting, EHLO, HELO); no recipient is. */
enum refusal_at { REFUSAL_AT_HELLO, REFUSAL_AT_MAIL, REFUSAL_AT_RCPT };

/* The text has "\n" between its lines, or a blank.  group: of the host
 * (provider.h); NULL: it is of none. */
struct refusal refusal_read(const struct smtp_status *status, const char *text,
                            const char *group, enum refusal_at at);

/* What an operator can do about a reply with X.7.x; NULL: nothing is known. */
const char *refusal_hint(const struct smtp_status *status);
#endif
