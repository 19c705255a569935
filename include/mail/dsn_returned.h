/* mail/dsn_returned.h - the returned content of a notice (RFC 3464), and its
 * output.  Private to mail/dsn.h. */
#ifndef MTA_MAIL_DSN_RETURNED_H
#define MTA_MAIL_DSN_RETURNED_H

#include "base/body.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mail/dsn.h"

enum {
    DSN_HEADER_MAX = 64 * 1024, /* octets of the original's header to return at
                                 * most */
    DSN_OUT_BUFFER = 4096
};

/* Collects small pieces into one call. */
struct dsn_out {
    dsn_sink *sink;
    void *ctx;
    bool failed;
    bool quoted; /* what follows is written as quoted-printable */
    unsigned char column, blank; /* of that; blank: kept back */
    size_t n;
    char memory[DSN_OUT_BUFFER];
};
void dsn_put(struct dsn_out *o, const char *p, size_t n);
bool dsn_flush(struct dsn_out *o); /* false: a write failed */
/* Begin and end what is written as quoted-printable (RFC 2045 6.7), with CRLF
 * between its lines. */
void dsn_quote(struct dsn_out *o, bool on);

struct dsn_original {
    uint64_t header_n; /* octets of header to return, whole lines */
    bool header_eight_bit, body_eight_bit;
    bool whole_fits; /* CRLF lines of at most 998 octets, no NUL: it can be
                        returned as it is, without an encoding */
};

/* 0, or -1 with errno when it could not be read.  Unless `all`, only the
 * header is looked at. */
int dsn_look(struct dsn_original *r, const struct body *b, bool all);
/* With CRLF after each line; lines that are too long are folded. */
int dsn_put_header(struct dsn_out *o, const struct body *b,
                   const struct dsn_original *r);
int dsn_put_whole(struct dsn_out *o, const struct body *b);
#endif
