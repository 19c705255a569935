/* base/utf8.h - characters of UTF-8 (RFC 3629), and those that must not reach a
 * terminal or reader unescaped. */
#ifndef MTA_BASE_UTF8_H
#define MTA_BASE_UTF8_H

#include <stddef.h>

/* The length of the UTF-8 sequence at p (1..4), or 0 when it is none. */
size_t utf8_length(const char *p, size_t n);

/* The code of a character of `len` bytes that must be escaped for readers: a
 * control (C0, DEL, C1: terminals obey them), an end of line of Unicode, or a
 * change of the text's direction.  UTF8_NO_CONTROL: none. */
enum { UTF8_NO_CONTROL = 0xffffff };
unsigned utf8_control(const char *p, size_t len);
#endif
