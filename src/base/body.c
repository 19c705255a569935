#include "base/body.h"

#include "base/fs.h"

#include <errno.h>

struct body body_of_chain(const struct chain *c)
{
    return (struct body){ c, -1, 0, c->n };
}

struct body body_of_file(int fd, off_t start, uint64_t size)
{
    return (struct body){ NULL, fd, start, size };
}

ssize_t body_read(const struct body *b, uint64_t at, void *out, size_t n)
{
    if (at >= b->size)
        return 0;
    if (n > b->size - at)
        n = (size_t)(b->size - at);
    if (b->chain != NULL)
        return (ssize_t)chain_copy(b->chain, (size_t)at, out, n);
    ssize_t got = fs_pread(b->fd, out, n, b->start + (off_t)at);
    if (got == 0 && n > 0) {
        errno = EIO; /* the file is shorter than its record says */
        return -1;
    }
    return got;
}
