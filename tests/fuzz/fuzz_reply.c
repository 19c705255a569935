/* fuzz_reply.c - what a server says, line by line. */
#include "base/utf8.h"
#include "fuzz.h"
#include "smtp/ext.h"
#include "smtp/reply.h"

static void check_text(const struct smtp_reply *r)
{
    size_t n = strlen(r->text);

    MUST(n < sizeof r->text);
    for (size_t i = 0, len; i < n; i += len) {
        unsigned char c = (unsigned char)r->text[i];
        len = utf8_length(r->text + i, n - i);
        MUST(len > 0 && (c >= ' ' || c == '\n') && c != 0x7f);
    }
}

static void check_reply(const struct smtp_reply *r, enum smtp_reply_result got)
{
    if (got == SMTP_REPLY_BROKEN)
        return;
    MUST(r->status.code >= 200 && r->status.code <= 599);
    MUST(r->lines >= 1 && r->octets <= SMTP_REPLY_MAX);
    MUST(r->status.class == 0 || r->status.class == r->status.code / 100);
    MUST(r->status.subject <= 999 && r->status.detail <= 999);
    MUST((r->done && !r->cut) == (got == SMTP_REPLY_DONE));
    check_text(r);
}

/* From a stream, in pieces of any size. */
static void stream(const uint8_t *data, size_t n, size_t step)
{
    struct smtp_reply r;
    struct smtp_ext x = { 0 };
    struct span line;
    size_t from = 0, used;

    smtp_reply_clear(&r);
    for (size_t to = 0; to < n;) {
        to = n - to < step ? n : to + step;
        char *copy = exact_copy(data + from, to - from);
        size_t at = 0;
        do {
            struct span in = { copy + at, to - from - at };
            enum smtp_reply_result got = smtp_reply_take(&r, in, &used, &line);
            MUST(used <= in.n && (line.n == 0 || inside(line, in)));
            MUST(line.n <= SMTP_REPLY_LINE_MAX);
            MUST(used > 0 || got == SMTP_REPLY_MORE);
            if (used > 0)
                check_reply(&r, got);
            if (got == SMTP_REPLY_BROKEN)
                smtp_reply_clear(&r);
            smtp_ext_line(&x, line);
            if (line.n > 4)
                smtp_ext_line(&x, (struct span){ line.p + 4, line.n - 4 });
            MUST(memchr(x.auth, '\0', sizeof x.auth) != NULL);
            MUST(x.limit_mail <= 1000000 && x.limit_rcpt <= 1000000);
            at += used;
        } while (used > 0);
        free(copy);
        from += at;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    stream(data, n, n);
    stream(data, n, n > 0 ? data[0] % 64u + 1 : 1);
    return 0;
}
