#include "smtp/reply.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Room at the end of the text for the marks of what is left out. */
enum { MARKS = 48 };

/* All but the text, which is long, and of which the end counts. */
void smtp_reply_clear(struct smtp_reply *r)
{
    r->status = (struct smtp_status){ 0 };
    r->lines = r->dropped = 0;
    r->octets = r->n = 0;
    r->done = r->cut = r->full = false;
    r->text[0] = '\0';
}

/* The class must equal the first digit of the reply; the code of the first line
 * counts. */
static struct span take_enhanced(struct smtp_reply *r, struct span text)
{
    struct smtp_status s = { .code = r->status.code };
    struct span rest = text;

    if (!smtp_status_take(&s, &rest) || s.class != s.code / 100)
        return text;
    if (r->status.class == 0)
        r->status = s;
    return rest;
}

/* Add a line for logs and notices: controls and octets that are not UTF-8
 * become "?", and no character is cut in two. */
static void add_text(struct smtp_reply *r, struct span text)
{
    const size_t room = sizeof r->text - MARKS;

    r->dropped += r->full;
    if (r->lines > 1 && !r->full)
        r->text[r->n++] = '\n';
    while (text.n > 0 && !r->full) {
        size_t len = utf8_length(text.p, text.n), takes = len == 0 ? 1 : len;
        const char *from = text.p;
        if (len == 0 || utf8_control(text.p, len) != UTF8_NO_CONTROL) {
            from = "?";
            len = 1;
        }
        r->full = r->n + len > room;
        if (r->full) {
            from = "...";
            len = 3;
        }
        memcpy(r->text + r->n, from, len);
        r->n += len;
        text.p += takes;
        text.n -= takes;
    }
    r->full |= r->n >= room;
    r->text[r->n] = '\0';
}

static void count_dropped(struct smtp_reply *r)
{
    if (r->done && r->dropped > 0)
        snprintf(r->text + r->n, sizeof r->text - r->n,
                 "\n... and %u more line%s", r->dropped,
                 r->dropped == 1 ? "" : "s");
}

static bool code_of(struct span line, unsigned short *code)
{
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' ||
        !ascii_is_digit(line.p[1]) || !ascii_is_digit(line.p[2]))
        return false;
    *code = (unsigned short)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 +
                             (line.p[2] - '0'));
    return line.n == 3 || line.p[3] == ' ' || line.p[3] == '-';
}

static enum smtp_reply_result take_line(struct smtp_reply *r, struct span line)
{
    unsigned short code;

    if (r->done)
        smtp_reply_clear(r);
    if (line.n > SMTP_REPLY_MAX - r->octets || !code_of(line, &code) ||
        (r->lines > 0 && code != r->status.code))
        return SMTP_REPLY_BROKEN;
    r->octets += line.n;
    r->lines++;
    r->status.code = code;
    r->done = line.n == 3 || line.p[3] == ' ';
    struct span text = { line.p + line.n, 0 };
    if (line.n > 4)
        text = take_enhanced(r, (struct span){ line.p + 4, line.n - 4 });
    add_text(r, text);
    count_dropped(r);
    return r->done ? SMTP_REPLY_DONE : SMTP_REPLY_MORE;
}

/* Once for a line, and not where nothing but its end is dropped. */
static void mark_cut(struct smtp_reply *r, struct span rest)
{
    static const char mark[] = "...";
    const size_t n = sizeof mark - 1;

    if (r->full || rest.n == 0 || span_is(rest, "\r") ||
        (r->n >= n && memcmp(r->text + r->n - n, mark, n) == 0))
        return;
    memcpy(r->text + r->n, mark, sizeof mark);
    r->n += n;
}

/* Drop the rest of a line that exceeds SMTP_REPLY_LINE_MAX. */
static enum smtp_reply_result drop_rest(struct smtp_reply *r, struct span in,
                                        size_t *used)
{
    size_t n = span_find(in, '\n');

    *used = n < in.n ? n + 1 : n;
    if (n > SMTP_REPLY_MAX - r->octets)
        return SMTP_REPLY_BROKEN;
    r->octets += n;
    mark_cut(r, (struct span){ in.p, n });
    r->cut = n == in.n;
    return r->done && !r->cut ? SMTP_REPLY_DONE : SMTP_REPLY_MORE;
}

enum smtp_reply_result smtp_reply_take(struct smtp_reply *r, struct span in,
                                       size_t *used, struct span *line)
{
    size_t n = span_find(in, '\n');

    *line = (struct span){ in.p, 0 };
    *used = 0;
    if (r->cut)
        return drop_rest(r, in, used);
    if (n == in.n && n <= SMTP_REPLY_LINE_MAX)
        return SMTP_REPLY_MORE;
    bool cut = n > SMTP_REPLY_LINE_MAX;
    line->n = cut ? SMTP_REPLY_LINE_MAX : n;
    *used = cut ? line->n : n + 1;
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    enum smtp_reply_result got = take_line(r, *line);
    r->cut = cut;
    return cut && got == SMTP_REPLY_DONE ? SMTP_REPLY_MORE : got;
}
