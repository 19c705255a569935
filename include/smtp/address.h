/* smtp/address.h - mailboxes (RFC 5321 4.1.2, 4.5.3.1; RFC 6531 for UTF-8).
 *
 * Pure, no allocation.  A source route is accepted and dropped.  A local part
 * may be as long as the path allows: RFC 5321 promises room for 64 octets
 * only, but SRS, VERP and the confirmations of mailing lists need more. */
#ifndef MTA_SMTP_ADDRESS_H
#define MTA_SMTP_ADDRESS_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SMTP_DOMAIN_MAX = 255,
    SMTP_PATH_MAX = 256, /* with < and >, a dropped source route not counted */
    SMTP_ADDRESS_MAX = SMTP_PATH_MAX - 2 + 1 /* without them, with a NUL */
};

enum smtp_address_error {
    SMTP_ADDRESS_OK,
    SMTP_ADDRESS_EMPTY,
    SMTP_ADDRESS_LOCAL,     /* local part: bad character or dot */
    SMTP_ADDRESS_DOMAIN,    /* bad domain or literal */
    SMTP_ADDRESS_NO_DOMAIN, /* "user" alone (only postmaster may) */
    SMTP_ADDRESS_TOO_LONG,
    SMTP_ADDRESS_ROUTE /* malformed source route */
};

struct smtp_address {
    struct span text;   /* local@domain, route dropped, as written */
    struct span local;  /* as written, quotes included */
    struct span domain; /* empty: none; a literal keeps its brackets */
    bool is_literal;
    bool is_utf8; /* holds octets >= 0x80 (valid UTF-8) */
};

/* What stands between < and >.  The null reverse-path "" is
 * SMTP_ADDRESS_EMPTY: the caller decides.  A bare local part parses fully
 * and returns SMTP_ADDRESS_NO_DOMAIN. */
enum smtp_address_error smtp_address_parse(struct smtp_address *a,
                                           struct span path);
const char *smtp_address_why(enum smtp_address_error e);

/* Copy the local part without quotes and backslashes ("a\.b" is a.b).  False,
 * with out empty, when it does not fit or holds a NUL. */
bool smtp_local_unquote(char *out, size_t size, struct span local);

/* A syntactically valid domain name: labels of letters, digits, hyphens
 * (underscore tolerated), <= 63 each, <= 255; one dot at the end is not. */
bool smtp_domain_valid(struct span domain);

/* An address literal: [192.0.2.1], [IPv6:2001:db8::1] (RFC 5321 4.1.3). */
bool smtp_literal_valid(struct span literal);
#endif
