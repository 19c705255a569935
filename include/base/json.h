/* base/json.h - write strings as JSON (RFC 8259). */
#ifndef MTA_BASE_JSON_H
#define MTA_BASE_JSON_H

#include "base/span.h"

#include <stdint.h>
#include <stdio.h>

/* With the quotes.  Octets that are not valid UTF-8 come out as U+FFFD, and
 * controls (base/utf8.h) escaped. */
void json_string(FILE *out, struct span s);

/* A wall-clock time as RFC 3339 in quotes; 0 as null. */
void json_time(FILE *out, uint64_t wall_us);
#endif
