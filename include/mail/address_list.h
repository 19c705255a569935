/* mail/address_list.h - the mailboxes of a header field (RFC 5322 3.4) as its
 * value streams by.
 *
 * A list is cut into elements: behind each comma, behind the colon and the
 * semicolon of a group, and where a comma is missing ("<a@b> <c@d>").  Together
 * they are the value, octet for octet, with its folds, comments and quotes.
 * Input in any pieces; memory is bounded: an element longer than
 * ADDRESS_ELEMENT_MAX comes in pieces, the last of which has the address, but
 * not its place.  Pure. */
#ifndef MTA_MAIL_ADDRESS_LIST_H
#define MTA_MAIL_ADDRESS_LIST_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum { ADDRESS_ELEMENT_MAX = 2048, ADDRESS_SPEC_MAX = 512 };

struct address_element {
    struct span text; /* as it stands, with the delimiter behind it */
    struct span spec; /* in text: the addr-spec; n 0: none, or "<>" */
    struct span addr; /* spec without blanks, comments and source route */
    bool angle;       /* spec stands between < and > */
    bool phrase;      /* words that are no address, and no < */
    bool broken;      /* "<a b@c>"; a comment, a quoted string or a literal
                         without its end */
};

/* The spans last until it returns; what it returns ends the call, unless it is
 * 0. */
typedef int address_element_fn(void *ctx, const struct address_element *el);

struct address_list {
    size_t n, spec_at, spec_end, addr_n;
    unsigned char state, before; /* before: the state around a quoted pair */
    unsigned depth;              /* of comments */
    bool gap, angle, closed, phrase, too_long;
    char text[ADDRESS_ELEMENT_MAX], addr[ADDRESS_SPEC_MAX];
};

void address_list_start(struct address_list *l);
int address_list_feed(struct address_list *l, struct span piece,
                      address_element_fn *fn, void *ctx);
/* The field is over: the last element, if there is any text left. */
int address_list_end(struct address_list *l, address_element_fn *fn, void *ctx);
#endif
