/* base/span.h - a piece of bytes that other code owns.
 *
 * A span owns nothing and need not end in NUL; its maker documents how long the
 * bytes live.  All functions are pure; case folding is ASCII only, as in SMTP
 * and DNS, in any locale. */
#ifndef MTA_BASE_SPAN_H
#define MTA_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>

struct span {
    const char *p;
    size_t n;
};

#define SPAN_LIT(s)                                                            \
    (struct span)                                                              \
    {                                                                          \
        (s), sizeof(s) - 1                                                     \
    }

struct span span_of(const char *cstr); /* NULL gives the empty span */
bool span_eq(struct span a, struct span b);
bool span_eq_nocase(struct span a, struct span b);
bool span_is(struct span a, const char *cstr);
bool span_is_nocase(struct span a, const char *cstr);
bool span_starts_nocase(struct span a, const char *prefix);

/* Without blanks and tabs at both ends. */
struct span span_trim(struct span s);

/* Without the mark that some editors put in front of UTF-8. */
struct span span_after_bom(struct span s);

/* The next line of a table's text that is neither empty nor a comment (#),
 * trimmed; *number, 0 at first, is its place.  False: the end. */
bool span_next_line(struct span *rest, struct span *line, unsigned *number);

/* Offset of the first c, or s.n when there is none. */
size_t span_find(struct span s, char c);

/* Does it hold an octet below the blank, or DEL?  Such a name could forge a
 * line of the protocol or of the log. */
bool span_has_control(struct span s);

/* Copy into dst as a C string.  False, with dst empty, when it does not fit
 * or holds a NUL. */
bool span_copy(char *dst, size_t size, struct span s);

/* Decimal digits only, at most max.  False on anything else. */
bool span_u64(struct span s, unsigned long long max, unsigned long long *out);

char ascii_lower(char c);
void ascii_lower_str(char *s);
bool ascii_is_alpha(char c);
bool ascii_is_digit(char c);
bool ascii_is_alnum(char c);
bool ascii_is_control(char c); /* below the blank, or DEL */

/* For "%.*s" in an error: as much of a long text as leaves room for what is
 * wrong with it. */
int span_clipped(struct span s);
#endif
