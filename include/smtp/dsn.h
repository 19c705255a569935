/* smtp/dsn.h - the parameters of MAIL and RCPT by which a sender asks for
 * notices (RFC 3461), and xtext.
 *
 * Pure functions, no allocation.  A check returns NULL, or the reason why the
 * value is malformed; a value with p NULL was not given. */
#ifndef MTA_SMTP_DSN_H
#define MTA_SMTP_DSN_H

#include "base/buf.h"
#include "base/span.h"

#include <stdbool.h>

enum {
    SMTP_ENVID_MAX = 100, /* octets on the wire (RFC 3461 5.4) */
    SMTP_ORCPT_MAX = 500,
    SMTP_NOTIFY_MAX = 28, /* "SUCCESS,FAILURE,DELAY" */
    SMTP_ADDR_TYPE_MAX = 64
};

/* Bits of NOTIFY; 0: it was not given. */
enum {
    SMTP_NOTIFY_NEVER = 1, /* alone */
    SMTP_NOTIFY_SUCCESS = 2,
    SMTP_NOTIFY_FAILURE = 4,
    SMTP_NOTIFY_DELAY = 8
};

const char *smtp_dsn_check_ret(struct span value);
const char *smtp_dsn_check_envid(struct span value);
const char *smtp_dsn_check_notify(struct span value, unsigned *bits);
/* utf8: SMTPUTF8 was given with MAIL, and the address of the type utf-8 may
 * hold UTF-8 (RFC 6533 3). */
const char *smtp_dsn_check_orcpt(struct span value, bool utf8);

/* Bits of a value that was checked before; NULL gives 0. */
unsigned smtp_dsn_notify_bits(const char *notify);
/* "SUCCESS,DELAY"; "" for 0. */
const char *smtp_dsn_notify_text(unsigned bits);

/* Decode; an octet that is not printable becomes "?", malformed ones stay. */
void smtp_xtext_decode(struct buf *b, struct span xtext);

/* ORCPT of an address: "rfc822;joe+2Bx@example.com", or "utf-8;..." in ASCII
 * (RFC 6533 3). */
void smtp_dsn_put_orcpt(struct buf *b, struct span address);
/* The same value with what is UTF-8 in it written in ASCII, for a host
 * without SMTPUTF8 and for notices. */
void smtp_dsn_put_ascii(struct buf *b, struct span orcpt);
#endif
