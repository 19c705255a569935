/* fuzz_command.c - a command line and what is in it. */
#include "fuzz.h"
#include "smtp/command.h"

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
        if (smtp_helo_name(c.args, &name))
            MUST(name.n > 0 && name.n <= 255 && inside(name, line) &&
                 span_find(name, ' ') == name.n);
    }
    free(copy);
    return 0;
}
