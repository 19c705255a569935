/* base/body.h - the octets of one message, wherever they are.
 *
 * Either a chain of blocks in memory or a range of an open file.  In a file
 * the first `front` octets of the message stand behind all others: header
 * fields that became known when those had been written.  In front of either
 * may stand octets in memory that belong to one delivery: signatures.  A body
 * owns none of them. */
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
    uint64_t size;  /* all of it */
    uint32_t front; /* so much of it comes first */
    uint32_t crc;   /* CRC-32C of the others */
    const char *head;
    size_t nhead; /* octets of it, which come before all others */
};

struct body body_of_chain(const struct chain *c, uint32_t crc);
/* front 0. */
struct body body_of_file(int fd, off_t start, uint64_t size, uint32_t crc);

/* Put octets in front of a body; none: take them away. */
void body_set_head(struct body *b, const char *head, size_t n);

/* Up to n octets from offset `at`; 0 only at the end; -1 with errno. */
ssize_t body_read(const struct body *b, uint64_t at, void *out, size_t n);

/* Read from the front to the end and check the CRC on the way.  As
 * body_read(); but the piece that ends a body in a file is handed out only
 * when all octets are as they were written, else -1 with EBADMSG.  A cursor
 * begins as zeros. */
struct body_cursor {
    uint64_t at;
    uint32_t crc;
};
ssize_t body_next(const struct body *b, struct body_cursor *c, void *out,
                  size_t n);
#endif
