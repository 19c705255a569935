/* base/buf.h - build text or bytes in a buffer of known size.
 *
 * The caller owns the memory; the buf never grows.  Content that does not fit
 * is dropped and sets `full`, so a long build checks once, at the end.  The
 * text is always NUL-terminated. */
#ifndef MTA_BASE_BUF_H
#define MTA_BASE_BUF_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *p;
    size_t cap; /* with the place of the NUL */
    size_t n;
    bool full; /* content was dropped */
};

/* cap >= 1. */
void buf_init(struct buf *b, char *memory, size_t cap);
void buf_add(struct buf *b, const void *data, size_t n); /* all or nothing */
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *cstr);
void buf_add_span(struct buf *b, struct span s);
void buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct span buf_span(const struct buf *b);

/* For `char name[N]`. */
#define BUF_ON(array)                                                          \
    {                                                                          \
        .p = (array), .cap = sizeof(array), .n = 0, .full = false              \
    }
#endif
