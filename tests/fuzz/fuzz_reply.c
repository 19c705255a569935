/* fuzz_reply.c - what a server says, line by line. */
#include "base/utf8.h"
#include "fuzz.h"
#include "smtp/reply.h"

static void check_text(const struct smtp_reply *r)
{
    size_t n = strlen(r->text);

    MUST(n < sizeof r->text);
    for (size_t i = 0, len; i < n; i += len) {
        unsigned char c = (unsigned char)r->text[i];
        len = utf8_length(r->text + i, n - i);
        MUST(len > 0 && c >= ' ' && c != 0x7f);
    }
}

static void check_reply(const struct smtp_reply *r, enum smtp_reply_result got)
{
    if (got == SMTP_REPLY_BROKEN)
        return;
    MUST(r->status.code >= 200 && r->status.code <= 599);
    MUST(r->lines >= 1 && r->lines <= SMTP_REPLY_LINES_MAX);
    MUST(r->status.class == 0 || r->status.class == r->status.code / 100);
    MUST(r->status.subject <= 999 && r->status.detail <= 999);
    MUST(r->done == (got == SMTP_REPLY_DONE));
    check_text(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct smtp_reply r;
    struct smtp_ext x = { 0 };

    smtp_reply_clear(&r);
    for (size_t at = 0; at < n;) {
        const uint8_t *lf = memchr(data + at, '\n', n - at);
        size_t len = lf == NULL ? n - at : (size_t)(lf - (data + at));
        char *copy = exact_copy(data + at, len);
        enum smtp_reply_result got =
            smtp_reply_line(&r, (struct span){ copy, len });
        check_reply(&r, got);
        smtp_ext_line(&x, (struct span){ copy, len });
        if (len > 4)
            smtp_ext_line(&x, (struct span){ copy + 4, len - 4 });
        MUST(memchr(x.auth, '\0', sizeof x.auth) != NULL);
        MUST(x.limit_mail <= 1000000 && x.limit_rcpt <= 1000000);
        if (got == SMTP_REPLY_BROKEN)
            smtp_reply_clear(&r);
        free(copy);
        at += len + 1;
    }
    return 0;
}
