/* smtp/reply.h - parse the replies of a server (RFC 5321 4.2, RFC 2034, RFC
 * 3463). */
#ifndef MTA_SMTP_REPLY_H
#define MTA_SMTP_REPLY_H

#include "base/buf.h"
#include "base/span.h"
#include "smtp/status.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SMTP_REPLY_LINE_MAX = 2048, /* the rest of a line is dropped */
    SMTP_REPLY_MAX = 1 << 20,   /* octets; longer replies are broken */
    SMTP_REPLY_TEXT_MAX = 4096
};

/* One reply while it arrives line by line. */
struct smtp_reply {
    struct smtp_status status; /* code 0: no line yet */
    unsigned lines;
    size_t octets;    /* of all lines, dropped ones too */
    bool done;        /* the last line ("250 ") was read */
    bool cut;         /* the rest of a line is to be dropped */
    bool full;        /* the text takes no more */
    unsigned dropped; /* lines of which it has nothing */
    size_t n;         /* of the text */
    /* Texts of all lines with "\n" between them, printable UTF-8.  A line that
     * does not fit ends in "..."; those behind it are counted in a last one,
     * "... and 3 more lines". */
    char text[SMTP_REPLY_TEXT_MAX];
};

enum smtp_reply_result {
    SMTP_REPLY_MORE, /* one line parsed, more follow */
    SMTP_REPLY_DONE,
    SMTP_REPLY_BROKEN /* not a reply: the session can not be trusted */
};

void smtp_reply_clear(struct smtp_reply *r);

/* Parse at most one line from the front of a stream.  It ends in CRLF, or in a
 * bare LF as some servers send.  *used octets of `in` are consumed; 0: no whole
 * line has arrived.  *line is the parsed line without its end, or empty.  The
 * first SMTP_REPLY_LINE_MAX octets of a longer line are parsed as soon as they
 * have arrived; the rest is dropped, and only then the reply is done. */
enum smtp_reply_result smtp_reply_take(struct smtp_reply *r, struct span in,
                                       size_t *used, struct span *line);
#endif
