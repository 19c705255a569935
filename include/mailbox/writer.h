/* mailbox/writer.h - write a message from wire form into a mailbox file.
 *
 * Private to the mailbox formats.  Converts CRLF to LF and nothing else (a
 * lone CR or LF stays), quotes "From " lines when asked (mboxrd: one more
 * ">" before any number of them), gives a last line its end.  Collects into
 * one buffer so that a usual message is one system call.  A failure is
 * remembered; out_finish() tells. */
#ifndef MTA_MAILBOX_WRITER_H
#define MTA_MAILBOX_WRITER_H

#include "base/body.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OUTFILE_BUFFER = 128 * 1024, OUTFILE_INPUT = 64 * 1024 };

/* Memory for one outfile at a time; allocated once, used for all. */
struct outfile_memory {
    char out[OUTFILE_BUFFER], in[OUTFILE_INPUT];
};

struct outfile {
    struct outfile_memory *m;
    int fd;
    bool append;         /* write() at the end; else pwrite() from 0 */
    bool quote;          /* may be switched on between calls */
    size_t n;            /* bytes in the buffer */
    uint64_t size;       /* bytes given so far */
    int error;           /* errno of the first failure */
    bool cr;             /* a CR is held back */
    char last;           /* last octet given; 0: none */
    unsigned char match; /* quoting: octets of "From " held back; or past */
};

void out_begin(struct outfile *o, struct outfile_memory *m, int fd,
               bool append);
void out_raw(struct outfile *o, const char *p, size_t n);  /* as it is */
void out_wire(struct outfile *o, const char *p, size_t n); /* converted */
void out_body(struct outfile *o, const struct body *b);
void out_end_line(struct outfile *o); /* unless at the start of a line */

/* 0; or -1 with errno when anything failed; part of it may be written. */
int out_finish(struct outfile *o);
#endif
