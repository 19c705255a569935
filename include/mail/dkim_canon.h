/* mail/dkim_canon.h - the relaxed canonicalisation of DKIM (RFC 6376 3.4.2,
 * 3.4.4).
 *
 * Streams: input in wire form (CRLF lines), in any pieces; output in pieces,
 * without a copy where the text needs no change.  A CR or LF by itself is an
 * octet as any other.  Pure. */
#ifndef MTA_MAIL_DKIM_CANON_H
#define MTA_MAIL_DKIM_CANON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void dkim_put_fn(void *ctx, const char *p, size_t n);

struct dkim_canon {
    dkim_put_fn *put;
    void *ctx;
    uint64_t lines; /* of a body: line ends that are not put yet */
    bool blank;     /* blanks that are not put yet */
    bool cr;        /* the last octet was CR */
    bool any;       /* text was put */
};

/* A body.  It begins with put and ctx, and zeros. */
void dkim_canon_body(struct dkim_canon *c, const char *p, size_t n);
void dkim_canon_body_end(struct dkim_canon *c);

/* The value of a header field: what stands behind the colon, with or without
 * the line end behind it.  The caller puts name and colon before it, and CRLF
 * behind it. */
void dkim_canon_value(struct dkim_canon *c, const char *p, size_t n);
void dkim_canon_value_end(struct dkim_canon *c);
#endif
