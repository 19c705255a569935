#include "mail/header_scan.h"

#include "base/span.h"

#include <string.h>

enum {
    AT_START, /* of the message: nothing to continue yet */
    AT_LINE,  /* a line begins */
    AT_CR,    /* a line began with CR: the empty line, if LF follows */
    IN_NAME,
    PAST_NAME, /* blanks between name and colon (obsolete syntax, still in use)
                */
    IN_VALUE
};

static bool is_received(const struct header_scan *h)
{
    static const char name[] = "received";

    return h->n == sizeof name - 1 && memcmp(h->name, name, h->n) == 0;
}

static unsigned char end_name(struct header_scan *h)
{
    if (is_received(h))
        h->received++;
    if (h->first == HEADER_UNDECIDED)
        h->first = HEADER_FIELD;
    return IN_VALUE;
}

/* A line that is no field ends the header: the body follows without an empty
 * line, or there never was a header. */
static unsigned char not_a_field(struct header_scan *h)
{
    h->ended = true;
    if (h->first == HEADER_UNDECIDED)
        h->first = HEADER_NONE;
    return IN_VALUE;
}

static unsigned char in_name(struct header_scan *h, char c)
{
    if (c == ':')
        return h->n > 0 ? end_name(h) : not_a_field(h);
    if (c == ' ' || c == '\t')
        return h->n > 0 ? PAST_NAME : not_a_field(h);
    if (c <= ' ' || c > '~')
        return not_a_field(h);
    if (h->n < sizeof h->name)
        h->name[h->n++] = (unsigned char)ascii_lower(c);
    return IN_NAME;
}

static unsigned char at_line(struct header_scan *h, char c)
{
    h->n = 0;
    if (c == '\r')
        return AT_CR;
    if (c == '\n')
        return not_a_field(h);
    if ((c == ' ' || c == '\t') && h->state == AT_LINE)
        return IN_VALUE;
    return in_name(h, c);
}

/* LF: the empty line; else the body begins. */
static unsigned char at_cr(struct header_scan *h, char c)
{
    if (h->first == HEADER_UNDECIDED && c == '\n')
        h->first = HEADER_FIELD;
    return not_a_field(h);
}

static unsigned char past_name(struct header_scan *h, char c)
{
    if (c == ' ' || c == '\t')
        return PAST_NAME;
    return c == ':' ? end_name(h) : not_a_field(h);
}

static unsigned char step(struct header_scan *h, char c)
{
    if (h->first == HEADER_UNDECIDED && h->undecided++ == HEADER_FIRST_MAX)
        return not_a_field(h);
    switch (h->state) {
    case AT_START:
    case AT_LINE: return at_line(h, c);
    case AT_CR: return at_cr(h, c);
    case IN_NAME: return in_name(h, c);
    case PAST_NAME: return past_name(h, c);
    default: break;
    }
    h->eight_bit |= ((unsigned char)c & 0x80) != 0;
    return c == '\n' ? AT_LINE : IN_VALUE;
}

void header_scan(struct header_scan *h, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !h->ended; i++)
        h->state = step(h, p[i]);
}
