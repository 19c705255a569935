/* base/line.h - a line between two processes of one tree.
 *
 * A pair of local sockets that keeps messages apart: short texts, each with a
 * descriptor if it needs one.  Neither end ever waits. */
#ifndef MTA_BASE_LINE_H
#define MTA_BASE_LINE_H

#include "base/err.h"

#include <stddef.h>

enum { LINE_MAX_TEXT = 2048 };

/* Both ends close-on-exec and non-blocking. */
int line_pair(int end[2], struct err *e);

/* Send the text, and fd unless it is negative; the receiver has a duplicate,
 * the caller keeps its own.  0, or -1 with *e: the line is full, or its other
 * end closed. */
int line_send(int line, const char *text, int fd, struct err *e);

/* One message: 1, with *fd the caller's to close, or -1 where none came; 0:
 * there is none now; -1: the other end is closed. */
int line_receive(int line, char text[LINE_MAX_TEXT], int *fd);
#endif
