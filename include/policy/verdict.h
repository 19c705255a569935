/* policy/verdict.h - the decision of a check about a command or a message.
 *
 * A check never replies itself: the session turns a rejection into the reply
 * and the log line. */
#ifndef MTA_POLICY_VERDICT_H
#define MTA_POLICY_VERDICT_H

#include "base/span.h"

enum verdict_kind {
    VERDICT_PASS,
    VERDICT_WAIT, /* not known yet: the check runs again */
    VERDICT_REJECT
};

/* The other members are set for a rejection alone.  The texts outlive the
 * reply. */
struct verdict {
    enum verdict_kind kind;
    unsigned short code; /* 421: the session ends too */
    const char *status;  /* RFC 3463 */
    const char *text;
    struct span detail; /* added to the text behind a colon; may be empty */
    const char *check;  /* name of the policy check; NULL: the server's own */
};
#endif
