#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_init(struct buf *b, char *memory, size_t cap)
{
    *b = (struct buf){ memory, cap, 0, false };
    memory[0] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    if (n >= b->cap - b->n) {
        b->full = true;
        return;
    }
    if (n > 0)
        memcpy(b->p + b->n, data, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_adds(struct buf *b, const char *cstr)
{
    buf_add(b, cstr, strlen(cstr));
}

void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.p, s.n);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= b->cap - b->n) {
        b->full = true;
        b->p[b->n] = '\0';
        return;
    }
    b->n += (size_t)n;
}

struct span buf_span(const struct buf *b)
{
    return (struct span){ b->p, b->n };
}
