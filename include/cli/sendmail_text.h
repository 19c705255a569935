/* cli/sendmail_text.h - the message that `mta sendmail` reads: line ends, end,
 * header.
 *
 * Functions return an exit status of sysexits.h, and have reported on stderr
 * what is not EX_OK. */
#ifndef MTA_CLI_SENDMAIL_TEXT_H
#define MTA_CLI_SENDMAIL_TEXT_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SENDMAIL_MEMORY = 4 << 20 }; /* its header must fit */

struct sendmail_text {
    char *mem; /* the message in wire form; what does not fit is in ... */
    size_t n;
    int file;        /* ... this file, without a name; -1: none */
    uint64_t file_n; /* octets in it */
    /* The header is mem[head .. head_end), without the empty line behind it;
     * that and the rest begin at mem[body]. */
    size_t head, head_end, body;
    bool eight_bit; /* has octets of other character sets */
    bool blank;     /* an empty line belongs in front of the body */
    bool has_from, resent, has_resent[3]; /* From, Date, Message-ID */
};

/* Read standard input to its end, or to a line with one dot.  max: octets. */
int sendmail_text_read(struct sendmail_text *t, bool dots, uint64_t max);
void sendmail_text_free(struct sendmail_text *t);

/* Find the header; drop Bcc.  fn, unless NULL, gets the value of each field
 * that names recipients. */
typedef int sendmail_field_fn(void *ctx, struct span value);
int sendmail_text_header(struct sendmail_text *t, sendmail_field_fn *fn,
                         void *ctx);

/* Octets of header and body as they are sent. */
uint64_t sendmail_text_size(const struct sendmail_text *t);
#endif
