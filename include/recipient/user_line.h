/* recipient/user_line.h - what passes between user_asker and user_helper.
 *
 * Packets of a SOCK_SEQPACKET pair.  A question: names, each with a NUL behind
 * it.  An answer: one of the letters, the name, NUL. */
#ifndef MTA_RECIPIENT_USER_LINE_H
#define MTA_RECIPIENT_USER_LINE_H

enum {
    USER_LINE_NAME = 64 + 1, /* a name with its NUL */
    USER_LINE_MAX = 4096,
    USER_LINE_YES = '+',
    USER_LINE_NO = '-',
    USER_LINE_TEMP = '?'
};
#endif
