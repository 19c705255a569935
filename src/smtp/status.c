#include "smtp/status.h"

/* At most three digits (RFC 3463 2). */
static bool take_number(struct span *s, unsigned max, unsigned short *out)
{
    size_t n = 0;
    unsigned v = 0;

    while (n < s->n && n < 3 && ascii_is_digit(s->p[n]))
        v = v * 10 + (unsigned)(s->p[n++] - '0');
    if (n == 0 || v > max)
        return false;
    s->p += n;
    s->n -= n;
    *out = (unsigned short)v;
    return true;
}

static bool take_dot(struct span *s)
{
    if (s->n == 0 || s->p[0] != '.')
        return false;
    s->p++;
    s->n--;
    return true;
}

bool smtp_status_take(struct smtp_status *s, struct span *text)
{
    struct span rest = *text;
    unsigned short class, subject, detail;

    if (!take_number(&rest, 5, &class) || class < 2 || !take_dot(&rest) ||
        !take_number(&rest, 999, &subject) || !take_dot(&rest) ||
        !take_number(&rest, 999, &detail) || (rest.n > 0 && rest.p[0] != ' '))
        return false;
    s->class = class;
    s->subject = subject;
    s->detail = detail;
    *text = span_trim(rest);
    return true;
}

/* Of three digits at the most. */
static char *put_number(char *at, unsigned n)
{
    if (n >= 100)
        *at++ = (char)('0' + n / 100 % 10);
    if (n >= 10)
        *at++ = (char)('0' + n / 10 % 10);
    *at++ = (char)('0' + n % 10);
    return at;
}

void smtp_status_text(char out[SMTP_STATUS_TEXT], const struct smtp_status *s)
{
    char *at = out;

    if (s->class != 0) {
        at = put_number(at, s->class % 10u);
        *at++ = '.';
        at = put_number(at, s->subject % 1000u);
        *at++ = '.';
        at = put_number(at, s->detail % 1000u);
    }
    *at = '\0';
}
