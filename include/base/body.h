/* base/body.h - the text of one message, in memory or in a file.
 *
 * Either a chain of blocks or a range of an open file, behind one read
 * function.  A body owns neither. */
#ifndef MTA_BASE_BODY_H
#define MTA_BASE_BODY_H

#include "base/chain.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct body {
    const struct chain *chain; /* NULL: the file below */
    int fd;
    off_t start;
    uint64_t size;
};

struct body body_of_chain(const struct chain *c);
struct body body_of_file(int fd, off_t start, uint64_t size);

/* Up to n bytes from offset `at`; 0 only at the end; -1 with errno. */
ssize_t body_read(const struct body *b, uint64_t at, void *out, size_t n);
#endif
