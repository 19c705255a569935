/* mailbox/writer.h - write a message from wire form into a mailbox file.
 *
 * Private to the mailbox formats.  Converts CRLF to LF and nothing else (a lone
 * CR or LF stays), quotes "From " lines on request (mboxrd: one more ">" before
 * any number of them), ends the last line.  Collects output in one buffer, so
 * that a usual message is one system call.  Keeps the first failure for
 * mailbox_write_finish(). */
#ifndef MTA_MAILBOX_WRITER_H
#define MTA_MAILBOX_WRITER_H

#include "base/body.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAILBOX_WRITER_BUFFER = 128 * 1024, MAILBOX_WRITER_INPUT = 64 * 1024 };

/* Buffers of one mailbox_writer at a time; allocated once, used for all. */
struct mailbox_writer_memory {
    char out[MAILBOX_WRITER_BUFFER], in[MAILBOX_WRITER_INPUT];
};

struct mailbox_writer {
    struct mailbox_writer_memory *m;
    int fd;
    bool append;         /* write() at the end; else pwrite() from 0 */
    bool quote;          /* may be switched on between calls */
    size_t n;            /* bytes in the buffer */
    uint64_t size;       /* bytes given so far */
    int error;           /* errno of the first failure */
    bool unreadable;     /* which was that of reading the body */
    bool cr;             /* a CR is held back */
    char last;           /* last octet given; 0: none */
    unsigned char match; /* quoting: octets of "From " held back; or past */
};

void mailbox_write_begin(struct mailbox_writer *o,
                         struct mailbox_writer_memory *m, int fd, bool append);
void mailbox_write_raw(struct mailbox_writer *o, const char *p,
                       size_t n); /* unconverted */
void mailbox_write_wire(struct mailbox_writer *o, const char *p,
                        size_t n); /* converted */
void mailbox_write_body(struct mailbox_writer *o, const struct body *b);
void mailbox_write_end_line(
    struct mailbox_writer *o); /* unless at the start of a line */

/* 0; or -1 with errno when anything failed; part of it may be written. */
int mailbox_write_finish(struct mailbox_writer *o);
#endif
