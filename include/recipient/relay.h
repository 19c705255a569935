/* recipient/relay.h - domains of other hosts whose mail any client may send
 * here (serve.relay_domains), and their recipients.
 *
 * Loaded once; a reload makes a new one.  Not for threads.  Rules:
 * docs/recipient.md. */
#ifndef MTA_RECIPIENT_RELAY_H
#define MTA_RECIPIENT_RELAY_H

#include "base/err.h"
#include "base/span.h"

struct conf_relays;
struct relay;

/* c must stay.  A bad line in a file of recipients is an error naming file and
 * line.  delimiter: local.recipient_delimiter. */
int relay_open(struct relay **r, const struct conf_relays *c,
               const char *delimiter, struct err *e);
void relay_close(struct relay **r); /* accepts NULL */

enum relay_verdict {
    RELAY_NO, /* no such domain */
    RELAY_OK,
    RELAY_UNKNOWN /* no such recipient in it */
};

/* local_part is unquoted.  An entry for the domain comes before the longest one
 * for domains above it. */
enum relay_verdict relay_check(const struct relay *r, struct span local_part,
                               struct span domain);

/* Each file that relay_open() reads; fn returns 0, or -1 with *e and ends
 * it. */
int relay_each_file(const struct conf_relays *c,
                    int (*fn)(void *ctx, const char *path, struct err *e),
                    void *ctx, struct err *e);
#endif
