/* fuzz_command.c - a command line and what is in it. */
#include "fuzz.h"
#include "smtp/command.h"
#include "smtp/dsn.h"

/* What is valid holds no octet that ends a word or a line, and in ASCII it is
 * valid for every host. */
static void try_dsn(struct span v)
{
    char text[8 * SMTP_ORCPT_MAX];
    struct buf b = BUF_ON(text);
    unsigned bits;

    if (smtp_dsn_check_notify(v, &bits) == NULL)
        MUST(bits != 0 &&
             smtp_dsn_notify_bits(smtp_dsn_notify_text(bits)) == bits);
    if (smtp_dsn_check_envid(v) == NULL)
        smtp_xtext_decode(&b, v);
    for (size_t i = 0; i < b.n; i++)
        MUST(text[i] >= ' ' && text[i] <= '~');
    if (smtp_dsn_check_orcpt(v, true) != NULL)
        return;
    buf_init(&b, text, sizeof text);
    smtp_dsn_put_ascii(&b, v);
    for (size_t i = 0; i < b.n; i++)
        MUST(text[i] > ' ' && text[i] <= '~');
    MUST(!b.full && (b.n > SMTP_ORCPT_MAX ||
                     smtp_dsn_check_orcpt(buf_span(&b), false) == NULL));
}

static void try_path(struct span args, const char *keyword)
{
    struct smtp_param params[SMTP_PARAMS_MAX];
    struct span path = { NULL, 0 };
    size_t n = 0;

    enum smtp_syntax s = smtp_path_args(args, keyword, &path, params, &n);
    MUST(n <= SMTP_PARAMS_MAX);
    if (s != SMTP_SYNTAX_OK)
        return;
    MUST(inside(path, args));
    MUST(path.p[-1] == '<' && path.p[path.n] == '>');
    for (size_t i = 0; i < n; i++) {
        MUST(params[i].key.n > 0 && inside(params[i].key, args));
        MUST(inside(params[i].value, args));
        MUST((params[i].value.p == NULL) == (params[i].value.n == 0));
        try_dsn(params[i].value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *copy = exact_copy(data, n);
    struct span line = { copy, n }, name = { NULL, 0 };
    struct smtp_command c;

    if (smtp_command_parse(&c, line)) {
        MUST(c.verb <= SMTP_UNKNOWN);
        MUST(inside(c.word, line) && inside(c.args, line));
        MUST(span_eq(c.args, span_trim(c.args)));
        MUST(span_find(line, '\0') == n && span_find(line, '\r') == n &&
             span_find(line, '\n') == n);
        try_path(c.args, "FROM:");
        try_path(c.args, "TO:");
        try_dsn(c.args);
        if (smtp_helo_name(c.args, &name))
            MUST(name.n > 0 && name.n <= 255 && inside(name, line) &&
                 span_find(name, ' ') == name.n);
    }
    free(copy);
    return 0;
}
