/* log/line.h - read fields back from a line of the log.  For src/log alone. */
#ifndef MTA_LOG_LINE_H
#define MTA_LOG_LINE_H

#include "base/span.h"

#include <stdbool.h>

/* A walk over the fields of a line, text or JSON.  What a peer made to look
 * like a field inside a value is none. */
struct log_line {
    struct span s;
    size_t at;
    unsigned word; /* of text: so many words were no fields */
    bool json;
};
void log_line_begin(struct log_line *l, struct span line);

/* The next field: its value without quotes, as it is escaped.  Of text the
 * first three words are time, level and event.  False: the end. */
bool log_line_next(struct log_line *l, struct span *key, struct span *value);
#endif
