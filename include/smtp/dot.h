/* smtp/dot.h - the end-of-data codec (RFC 5321 4.1.1.4, 4.5.2).
 *
 * The message ends at CRLF.CRLF and nothing else; one leading dot of a line is
 * removed (decode) or added (encode), where a line begins only after CRLF.
 * Streams: the state is a few bytes, input arrives in any pieces. */
#ifndef MTA_SMTP_DOT_H
#define MTA_SMTP_DOT_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

struct smtp_dot_decoder {
    unsigned char state;   /* 0: at the start of a line */
    bool ended;            /* the final dot was seen */
    bool bare_cr, bare_lf; /* a CR without LF, an LF without CR was seen */
    bool nul_dot;          /* a line began with NUL and a dot */
    bool normalize;        /* set by the caller: turn bare CR and bare LF into
                            CRLF (they still do not end a message) */
};

#define SMTP_DOT_DECODER_INIT                                                  \
    {                                                                          \
        0, false, false, false, false, false                                   \
    }

/* Decode from the beginning of in[0..n), n > 0; *used is the number of octets
 * consumed: at least one before the end of data, none after it, and all in two
 * calls at most.  Returns the decoded text: most often that piece of the input
 * itself, else text in out, which has room for 2 * n + 2 bytes. */
struct span smtp_dot_decode(struct smtp_dot_decoder *d, const char *in,
                            size_t n, size_t *used, char *out);

struct smtp_dot_encoder {
    bool line_started, last_cr;
};

#define SMTP_DOT_ENCODER_INIT                                                  \
    {                                                                          \
        false, false                                                           \
    }

/* Input is wire form (CRLF lines); out must have room for 2 * n. */
size_t smtp_dot_encode(struct smtp_dot_encoder *s, const char *in, size_t n,
                       char *out);

/* The end: ".CRLF", with CRLF before it when the last line lacks one.
 * Returns its length, at most 5. */
size_t smtp_dot_finish(struct smtp_dot_encoder *s, char out[5]);
#endif
