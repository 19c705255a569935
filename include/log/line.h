/* log/line.h - read fields back from a line of the log.  For src/log alone. */
#ifndef MTA_LOG_LINE_H
#define MTA_LOG_LINE_H

#include "base/span.h"

#include <stdbool.h>

/* Has the line, text or JSON, the field key with exactly this value?  A
 * value that a peer made to look like a field does not count.  value is a
 * simple word: what needs an escape is never found. */
bool log_line_has(struct span line, const char *key, const char *value);
#endif
