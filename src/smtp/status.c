#include "smtp/status.h"

#include <stdio.h>

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

void smtp_status_text(char out[SMTP_STATUS_TEXT], const struct smtp_status *s)
{
    out[0] = '\0';
    if (s->class != 0)
        snprintf(out, SMTP_STATUS_TEXT, "%u.%u.%u", s->class % 10u,
                 s->subject % 1000u, s->detail % 1000u);
}
