/* mail/header_scan.h - scan a header as it streams by.
 *
 * Counts trace fields for the loop limit (RFC 5321 6.3) without keeping bytes;
 * input in any pieces, wire form.  Pure. */
#ifndef MTA_MAIL_HEADER_SCAN_H
#define MTA_MAIL_HEADER_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum { MAIL_HOPS_MAX = 100 };

struct header_scan {
    unsigned received;      /* "Received:" fields so far */
    bool ended;             /* the empty line was seen (or no header at all) */
    bool eight_bit;         /* an octet >= 0x80 in the header */
    unsigned char name[16]; /* start of the line, lower case */
    unsigned char n, state;
};

#define HEADER_SCAN_INIT                                                       \
    {                                                                          \
        0, false, false, { 0 }, 0, 0                                           \
    }

void header_scan(struct header_scan *h, const char *p, size_t n);
#endif
