/* mailbox/wire_private.h - the octets of a packet between deliver and a mailbox
 * process.  For src/mailbox alone.
 *
 * docs/mailbox.md describes them.  A packet is built in a buffer of
 * WIRE_PACKET octets and parsed from one; parsing checks every length and
 * number, because the maker of a packet is less trusted than its reader.
 * Pure functions. */
#ifndef MTA_MAILBOX_WIRE_PRIVATE_H
#define MTA_MAILBOX_WIRE_PRIVATE_H

#include "mailbox/request.h"

#include <stddef.h>

enum {
    WIRE_PACKET = 64 * 1024,
    WIRE_HANDLES = 64, /* files that a process knows at a time */
    WIRE_FDS = 16      /* descriptors that come with one packet, at most */
};

/* A packet of requests.  In front of them, the handles of the descriptors that
 * come with it, in their order, then those of files to be closed.  A handle
 * that is in use is given to the new file. */
struct wire_head {
    unsigned opens, closes, requests;
    unsigned char open[WIRE_FDS], close[WIRE_HANDLES];
};

/* Octets that the head takes at most: requests are put behind. */
enum { WIRE_HEAD_MAX = 8 + WIRE_FDS + WIRE_HANDLES };

/* Add a request behind n octets of requests in p.  0: no room. */
size_t wire_put_request(unsigned char *p, size_t room,
                        const struct mailbox_request *r, unsigned handle);
size_t wire_put_head(unsigned char p[WIRE_HEAD_MAX], const struct wire_head *h);

/* The octets not yet parsed. */
struct wire_reader {
    const unsigned char *p;
    size_t n;
};

/* 0; -1: malformed.  Strings and spans of *r are in the packet; its key ends
 * in NUL there. */
int wire_take_head(struct wire_reader *w, struct wire_head *h);
int wire_take_request(struct wire_reader *w, struct mailbox_request *r,
                      unsigned *handle);

/* Answers follow each other without a head.  0: no room; at the end:
 * wire_take_answer() returns 0, 1 is an answer, -1 malformed. */
size_t wire_put_answer(unsigned char *p, size_t room,
                       const struct mailbox_answer *a);
int wire_take_answer(struct wire_reader *w, struct mailbox_answer *a);
#endif
