/* ext.c - the keywords of a server's reply to EHLO. */
#include "smtp/ext.h"

#include "base/buf.h"

#include <string.h>

static const struct {
    const char *word;
    unsigned bit;
} keywords[] = {
    { "PIPELINING", SMTP_EXT_PIPELINING },
    { "SIZE", SMTP_EXT_SIZE },
    { "8BITMIME", SMTP_EXT_8BITMIME },
    { "STARTTLS", SMTP_EXT_STARTTLS },
    { "CHUNKING", SMTP_EXT_CHUNKING },
    { "SMTPUTF8", SMTP_EXT_SMTPUTF8 },
    { "DSN", SMTP_EXT_DSN },
    { "AUTH", SMTP_EXT_AUTH },
    { "ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED },
};

static struct span next_word(struct span *rest)
{
    size_t n = 0;

    *rest = span_trim(*rest);
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    struct span word = { rest->p, n };
    rest->p += n;
    rest->n -= n;
    return word;
}

/* RFC 9422: LIMITS MAILMAX=.. RCPTMAX=.. */
static void take_limits(struct smtp_ext *x, struct span rest)
{
    unsigned long long v;

    for (struct span w = next_word(&rest); w.n > 0; w = next_word(&rest)) {
        size_t eq = span_find(w, '=');
        struct span key = { w.p, eq };
        if (eq == w.n ||
            !span_u64((struct span){ w.p + eq + 1, w.n - eq - 1 }, 1000000, &v))
            continue;
        if (span_is_nocase(key, "MAILMAX"))
            x->limit_mail = (unsigned)v;
        else if (span_is_nocase(key, "RCPTMAX"))
            x->limit_rcpt = (unsigned)v;
    }
}

/* A server may send both "AUTH PLAIN" and "AUTH=PLAIN": the first one
 * counts. */
static void take_auth(struct smtp_ext *x, struct span rest)
{
    struct buf b = BUF_ON(x->auth);

    if (x->auth[0] != '\0')
        return;
    for (struct span w = next_word(&rest); w.n > 0; w = next_word(&rest)) {
        if (w.n + (b.n > 0) >= b.cap - b.n || span_find(w, '\0') < w.n)
            continue;
        if (b.n > 0)
            buf_addc(&b, ' ');
        buf_add_span(&b, w);
    }
}

void smtp_ext_line(struct smtp_ext *x, struct span line)
{
    struct span all = line, word = next_word(&line);

    /* "AUTH=LOGIN" is an obsolete spelling that some servers still send. */
    if (span_starts_nocase(word, "AUTH=")) {
        word.n = 4;
        line = span_trim(all);
        line.p += 5;
        line.n -= 5;
    }
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (span_is_nocase(word, keywords[i].word))
            x->bits |= keywords[i].bit;
    line = span_trim(line);
    if (span_is_nocase(word, "SIZE"))
        span_u64(line, ~0ull, &x->size);
    else if (span_is_nocase(word, "AUTH"))
        take_auth(x, line);
    else if (span_is_nocase(word, "LIMITS"))
        take_limits(x, line);
}
