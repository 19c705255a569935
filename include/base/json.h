/* base/json.h - write strings as JSON (RFC 8259). */
#ifndef MTA_BASE_JSON_H
#define MTA_BASE_JSON_H

#include "base/span.h"

#include <stdint.h>
#include <stdio.h>

/* With the quotes.  Octets that are not valid UTF-8 come out as U+FFFD, and
 * controls (see below) escaped. */
void json_string(FILE *out, struct span s);

/* A wall-clock time as RFC 3339 in quotes; 0 as null. */
void json_time(FILE *out, uint64_t wall_us);

/* The length of the UTF-8 sequence at p (1..4), or 0 when it is none. */
size_t utf8_length(const char *p, size_t n);

/* The code of a character of `len` bytes that no reader may get as it is: a
 * control (C0, DEL, C1: terminals obey them), an end of line of Unicode, or
 * what turns the direction of the text around.  UTF8_NO_CONTROL: none. */
enum { UTF8_NO_CONTROL = 0xffffff };
unsigned utf8_control(const char *p, size_t len);
#endif
