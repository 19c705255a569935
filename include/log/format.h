/* log/format.h - render one event as one line.  For src/log alone.
 *
 * docs/log.md describes both formats.  With any values the line is valid UTF-8
 * and has one newline, at its end. */
#ifndef MTA_LOG_FORMAT_H
#define MTA_LOG_FORMAT_H

#include "base/buf.h"
#include "log/log.h"

#include <stdint.h>

enum {
    LOG_LINE_MAX = 8192, /* with the newline */
    LOG_LINE_MIN = 512,  /* least room for a line */
    LOG_VALUE_MAX = 2048 /* bytes of one value; "..." replaces the rest */
};

struct log_event {
    uint64_t wall_us;
    enum log_level level;
    const char *name;
    const struct log_field *fields; /* up to LOG_END */
};

/* Append the line to b, which is empty and has cap > LOG_LINE_MIN.  Fields that
 * do not fit are left out, and the field `truncated` is added. */
void log_render(struct buf *b, enum log_format format,
                const struct log_event *ev);

/* The format set by log_style(). */
enum log_format log_format_now(void);
#endif
