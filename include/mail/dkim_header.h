/* mail/dkim_header.h - the header of a message that is to be signed: which
 * fields a signature covers, where they stand, and where the body begins.
 *
 * Streams: the text in wire form, in any pieces; memory is bounded for a
 * header of any size.  Pure. */
#ifndef MTA_MAIL_DKIM_HEADER_H
#define MTA_MAIL_DKIM_HEADER_H

#include "base/idn.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    DKIM_FIELDS_MAX = 64, /* that are signed, From apart; of more, those at
                           * the bottom */
    DKIM_NAME_MAX = 28,
    DKIM_OVERSIGNED = 6,      /* of the names below, the first */
    DKIM_FROM_MAX = 16 * 1024 /* octets of a From field */
};

struct dkim_field {
    uint64_t at, n; /* of its value: from the colon to its last line end */
    unsigned char name;
};

struct dkim_header {
    struct dkim_field from;
    unsigned nfrom; /* fields; the first is kept */
    struct dkim_field field[DKIM_FIELDS_MAX];
    uint64_t nfields; /* of all; field number i is at i % DKIM_FIELDS_MAX */
    uint64_t at;      /* octets so far; at the end, where the body begins */
    bool ended;       /* the empty line was seen */
    struct {
        unsigned char state, n; /* n: of the name */
        char name[DKIM_NAME_MAX];
        struct dkim_field *field; /* the one that is read, if it is kept */
    } scan;
};

/* Begins as zeros.  Returns how many octets belong to the header. */
size_t dkim_header_scan(struct dkim_header *h, const char *p, size_t n);

/* The text is over, with or without an empty line. */
void dkim_header_end(struct dkim_header *h);

/* The fields that are signed besides From, by number (RFC 6376 5.4.1, and
 * List-Unsubscribe-Post, RFC 8058), in lower case; NULL behind the last one. */
const char *dkim_header_name(unsigned i);

/* The one domain of the addresses in the value of a From field, as A-labels.
 * NULL, or why there is none. */
const char *dkim_from_domain(char out[IDN_MAX], struct span value);
#endif
