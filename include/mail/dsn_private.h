/* mail/dsn_private.h - the parts of a notice that write it together.  Private
 * to mail/dsn.h. */
#ifndef MTA_MAIL_DSN_PRIVATE_H
#define MTA_MAIL_DSN_PRIVATE_H

#include "mail/dsn.h"
#include "mail/dsn_returned.h"

#include <stdbool.h>

enum {
    DSN_VALUE_MAX = 800,
    DSN_REPLY_MAX = 4096 + 64, /* longer ones are cut */
    DSN_BOUNDARY_MAX = 64
};

struct dsn_notice {
    const struct dsn *d;
    struct dsn_out to;
    struct dsn_original original;
    bool global;     /* it travels with SMTPUTF8 (RFC 6533) */
    bool whole;      /* the original is returned with its body */
    bool eight_text; /* the text part has octets above ASCII */
    char boundary[DSN_BOUNDARY_MAX];
};

/* dsn_lines.c: one line of printable text: line ends and controls become
 * blanks.  Valid UTF-8 stays when asked for; any other octet above ASCII
 * becomes "?".  A value that is cut ends in "...". */
void dsn_harmless(char out[DSN_VALUE_MAX], const char *text, bool utf8);
bool dsn_has_text(const char *s);
void dsn_put_string(struct dsn_notice *o, const char *text);
/* A line, or several: folded between words, each but the first behind
 * `indent`.  A word longer than a line may be is broken. */
void dsn_put_folded(struct dsn_notice *o, const char *first, const char *indent,
                    const char *value);
void dsn_start_part(struct dsn_notice *o, const char *type,
                    const char *encoding);
/* A line of the reply, or all of it, as the host sent it: "550 5.1.1 No such
 * user", and with a hyphen behind the code where more lines follow. */
void dsn_reply_text(char out[DSN_REPLY_MAX], const struct dsn_rcpt *r,
                    struct span text, bool more);

/* dsn_text.c: the part for people. */
void dsn_put_text(struct dsn_notice *o);
#endif
