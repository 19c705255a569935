#include "base/body.h"

#include "base/crc32c.h"
#include "base/fs.h"

#include <errno.h>
#include <string.h>

struct body body_of_chain(const struct chain *c, uint32_t crc)
{
    return (struct body){ .chain = c, .fd = -1, .size = c->n, .crc = crc };
}

struct body body_of_file(int fd, off_t start, uint64_t size, uint32_t crc)
{
    return (struct body){ .fd = fd, .start = start, .size = size, .crc = crc };
}

void body_set_head(struct body *b, const char *head, size_t n)
{
    b->size -= b->nhead;
    b->head = head;
    b->nhead = n;
    b->size += n;
}

/* A piece never goes over the border between the front and the others. */
static ssize_t read_file(const struct body *b, uint64_t at, void *out, size_t n)
{
    uint64_t place = at - b->front;

    if (at < b->front) {
        place = b->size - b->nhead - b->front + at;
        n = n < b->front - at ? n : (size_t)(b->front - at);
    }
    ssize_t got = fs_pread(b->fd, out, n, b->start + (off_t)place);
    if (got == 0 && n > 0) {
        errno = EIO; /* the file is shorter than its record says */
        return -1;
    }
    return got;
}

ssize_t body_read(const struct body *b, uint64_t at, void *out, size_t n)
{
    if (at >= b->size)
        return 0;
    if (n > b->size - at)
        n = (size_t)(b->size - at);
    if (at < b->nhead) {
        n = n < b->nhead - at ? n : b->nhead - (size_t)at;
        memcpy(out, b->head + at, n);
        return (ssize_t)n;
    }
    at -= b->nhead;
    if (b->chain != NULL)
        return (ssize_t)chain_copy(b->chain, (size_t)at, out, n);
    return read_file(b, at, out, n);
}

ssize_t body_next(const struct body *b, struct body_cursor *c, void *out,
                  size_t n)
{
    ssize_t got = body_read(b, c->at, out, n);

    if (got <= 0)
        return got;
    if (b->chain == NULL && c->at >= b->nhead + b->front)
        c->crc = crc32c(c->crc, out, (size_t)got);
    c->at += (uint64_t)got;
    if (b->chain == NULL && c->at == b->size && c->crc != b->crc) {
        errno = EBADMSG;
        return -1;
    }
    return got;
}
