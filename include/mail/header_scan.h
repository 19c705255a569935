/* mail/header_scan.h - scan a header as it streams by.
 *
 * Counts trace fields for the loop limit (RFC 5321 6.3) without keeping bytes;
 * input in any pieces, wire form.  Pure. */
#ifndef MTA_MAIL_HEADER_SCAN_H
#define MTA_MAIL_HEADER_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum { MAIL_HOPS_MAX = 100 };

/* A colon must come within so many octets of the text. */
enum { HEADER_FIRST_MAX = 126 };

/* Could the first line begin a header?  A text whose first line could not
 * must be kept apart from a field in front of it. */
enum header_first {
    HEADER_UNDECIDED, /* a part of its name is there, or nothing */
    HEADER_FIELD,     /* a field, or the empty line of an empty header */
    HEADER_NONE       /* begins with a blank, or is no field */
};

struct header_scan {
    unsigned received;      /* "Received:" fields so far */
    bool ended;             /* the empty line was seen (or no header at all) */
    bool eight_bit;         /* an octet >= 0x80 in the header */
    unsigned char name[16]; /* start of the line, lower case */
    unsigned char n, state;
    unsigned char first;     /* enum header_first */
    unsigned char undecided; /* octets that it took so far */
};

#define HEADER_SCAN_INIT                                                       \
    {                                                                          \
        0, false, false, { 0 }, 0, 0, 0, 0                                     \
    }

void header_scan(struct header_scan *h, const char *p, size_t n);
#endif
