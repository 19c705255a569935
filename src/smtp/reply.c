#include "smtp/reply.h"

#include "base/utf8.h"

#include <string.h>

void smtp_reply_clear(struct smtp_reply *r)
{
    memset(r, 0, sizeof *r);
}

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

/* RFC 3463: class.subject.detail, the class equal to the reply's digit. */
static struct span take_enhanced(struct smtp_reply *r, struct span text)
{
    struct span s = text;
    unsigned short class, subject, detail;

    if (!take_number(&s, 5, &class) || class != r->code / 100 ||
        !take_dot(&s) || !take_number(&s, 999, &subject) || !take_dot(&s) ||
        !take_number(&s, 999, &detail) || (s.n > 0 && s.p[0] != ' '))
        return text;
    if (r->enh_class == 0) {
        r->enh_class = class;
        r->subject = subject;
        r->detail = detail;
    }
    return span_trim(s);
}

/* What a server says is for people: controls and octets that are not UTF-8
 * become "?", and no character is cut in two. */
static void add_text(struct smtp_reply *r, struct span text)
{
    size_t n = strlen(r->text);

    if (text.n > 0 && n > 0 && n + 1 < sizeof r->text)
        r->text[n++] = ' ';
    while (text.n > 0) {
        size_t len = utf8_length(text.p, text.n), takes = len == 0 ? 1 : len;
        if (len > 0 && utf8_control(text.p, len) != UTF8_NO_CONTROL)
            len = 0;
        if (n + (len == 0 ? 1 : len) >= sizeof r->text)
            break;
        if (len == 0)
            r->text[n] = '?';
        else
            memcpy(r->text + n, text.p, len);
        n += len == 0 ? 1 : len;
        text.p += takes;
        text.n -= takes;
    }
    r->text[n] = '\0';
}

static bool code_of(struct span line, int *code)
{
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' ||
        !ascii_is_digit(line.p[1]) || !ascii_is_digit(line.p[2]))
        return false;
    *code =
        (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    return line.n == 3 || line.p[3] == ' ' || line.p[3] == '-';
}

enum smtp_reply_result smtp_reply_line(struct smtp_reply *r, struct span line)
{
    int code;

    if (r->done)
        smtp_reply_clear(r);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n > SMTP_REPLY_LINE_MAX || !code_of(line, &code) ||
        (r->lines > 0 && code != r->code) || ++r->lines > SMTP_REPLY_LINES_MAX)
        return SMTP_REPLY_BROKEN;
    r->code = code;
    r->done = line.n == 3 || line.p[3] == ' ';
    if (line.n > 4)
        add_text(r, take_enhanced(r, (struct span){ line.p + 4, line.n - 4 }));
    return r->done ? SMTP_REPLY_DONE : SMTP_REPLY_MORE;
}
