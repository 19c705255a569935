/* fuzz_sasl.c - a server's challenges, one a line, to each mechanism. */
#include "base/base64.h"
#include "fuzz.h"
#include "smtp/sasl.h"

static const struct sasl_login login = {
    { "user", 4 }, { "pencil", 6 }, { "mx.example.com", 14 }, 587
};

/* A response is base64 and fits; a failed step adds nothing. */
static void respond(struct sasl *s, struct span challenge)
{
    char out[SASL_LINE_MAX], plain[SASL_LINE_MAX];
    struct buf o = BUF_ON(out), p = BUF_ON(plain);
    struct err e = { 0 };

    int rc = sasl_respond(s, challenge, &o, &e);
    for (int slices = 0; rc > 0 && slices < 3; slices++)
        rc = sasl_go_on(s, &o, &e);
    if (rc > 0) {
        MUST(o.n == 0 && s->busy); /* many rounds */
        return;
    }
    if (rc != 0) {
        MUST(o.n == 0 && e.kind != ERR_NONE && e.text[0] != '\0');
        return;
    }
    MUST(!o.full && base64_decode(&p, buf_span(&o), &e) == 0);
    MUST(memchr(s->denial, '\0', sizeof s->denial) != NULL);
}

static void exchange(enum sasl_mechanism m, struct span lines)
{
    static const unsigned char octets[SASL_NONCE * 3 / 4];
    struct sasl s;

    sasl_begin(&s, m, &login, octets);
    while (lines.n > 0) {
        size_t n = span_find(lines, '\n');
        respond(&s, (struct span){ lines.p, n });
        n += n < lines.n;
        lines = (struct span){ lines.p + n, lines.n - n };
    }
    struct err e;
    /* No input can be signed by chance. */
    MUST(m != SASL_SCRAM_SHA_256 || sasl_succeed(&s, &e) != 0);
    sasl_end(&s);
}

/* The same octets as they are, as if the peer had sent them in base64, and as
 * words of its EHLO. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *copy = exact_copy(data, n);
    struct span in = { copy, n };
    char *text = malloc(BASE64_SIZE(n) + 1);
    struct buf b;

    MUST(text != NULL);
    buf_init(&b, text, BASE64_SIZE(n) + 1);
    base64_encode(&b, in);
    MUST(!b.full);
    for (unsigned m = 0; m < SASL_MECHANISMS; m++) {
        exchange((enum sasl_mechanism)m, in);
        exchange((enum sasl_mechanism)m, buf_span(&b));
    }
    (void)sasl_choose(in, ~0u);
    free(text);
    free(copy);
    return 0;
}
