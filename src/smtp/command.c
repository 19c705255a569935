#include "smtp/command.h"

#include "base/utf8.h"
#include "smtp/address.h"

#include <string.h>

static const char *const names[] = { "HELO", "EHLO", "MAIL",   "RCPT",
                                     "DATA", "RSET", "QUIT",   "VRFY",
                                     "NOOP", "HELP", "EXPN",   "STARTTLS",
                                     "AUTH", "BDAT", "unknown" };

const char *smtp_verb_name(enum smtp_verb v)
{
    return names[v <= SMTP_UNKNOWN ? v : SMTP_UNKNOWN];
}

static enum smtp_verb verb_of(struct span word)
{
    for (unsigned v = 0; v < SMTP_UNKNOWN; v++)
        if (span_is_nocase(word, names[v]))
            return (enum smtp_verb)v;
    return span_is_nocase(word, "VERIFY") ? SMTP_VRFY : SMTP_UNKNOWN;
}

static size_t word_length(struct span s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    return n;
}

bool smtp_command_parse(struct smtp_command *c, struct span line)
{
    memset(c, 0, sizeof *c);
    c->verb = SMTP_UNKNOWN;
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] == '\0' || line.p[i] == '\r' || line.p[i] == '\n')
            return false;
    size_t n = word_length(line);
    c->word = (struct span){ line.p, n };
    c->args = span_trim((struct span){ line.p + n, line.n - n });
    c->verb = verb_of(c->word);
    return true;
}

/* The end of a path that begins behind "<": the ">" outside quotes. */
static size_t path_end(struct span s)
{
    bool quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && quoted)
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (s.p[i] == '>' && !quoted)
            return i;
    }
    return s.n;
}

static bool keyword_valid(struct span k)
{
    if (k.n == 0 || !ascii_is_alnum(k.p[0]))
        return false;
    for (size_t i = 1; i < k.n; i++)
        if (!ascii_is_alnum(k.p[i]) && k.p[i] != '-')
            return false;
    return true;
}

/* RFC 5321 4.1.2: esmtp-value is printable without "=" and blanks; RFC 6531
 * adds UTF-8. */
static bool value_valid(struct span v)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (c <= ' ' || c == '=' || c == 0x7f)
            return false;
    }
    return v.n > 0;
}

static bool take_param(struct smtp_param *p, struct span word)
{
    size_t eq = span_find(word, '=');

    p->key = (struct span){ word.p, eq };
    p->value = (struct span){ NULL, 0 };
    if (eq < word.n) {
        p->value = (struct span){ word.p + eq + 1, word.n - eq - 1 };
        if (!value_valid(p->value))
            return false;
    }
    return keyword_valid(p->key);
}

/* RFC 5321 4.1.1.11: no parameter more than once, because two servers might
 * obey different ones. */
static bool has_param(const struct smtp_param *params, size_t n,
                      struct span key)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq_nocase(params[i].key, key))
            return true;
    return false;
}

static enum smtp_syntax take_params(struct span rest, struct smtp_param *params,
                                    size_t *n)
{
    for (rest = span_trim(rest); rest.n > 0; rest = span_trim(rest)) {
        size_t len = word_length(rest);
        if (*n == SMTP_PARAMS_MAX ||
            !take_param(&params[*n], (struct span){ rest.p, len }))
            return SMTP_SYNTAX_PARAMS;
        if (has_param(params, *n, params[*n].key))
            return SMTP_SYNTAX_TWICE;
        ++*n;
        rest.p += len;
        rest.n -= len;
    }
    return SMTP_SYNTAX_OK;
}

static bool is_at_word_end(struct span s)
{
    return s.n == 0 || s.p[0] == ' ' || s.p[0] == '\t';
}

/* Parse the path at the start of *args, and advance *args behind it. */
static enum smtp_syntax take_path(struct span *args, struct span *path)
{
    bool bare = args->n > 0 && args->p[0] != '<';
    size_t past;

    if (bare) {
        past = word_length(*args);
        *path = (struct span){ args->p, past };
        if (span_find(*path, '<') < past || span_find(*path, '>') < past)
            return SMTP_SYNTAX_BAD;
    } else {
        if (args->n == 0)
            return SMTP_SYNTAX_BAD;
        *path = (struct span){ args->p + 1, args->n - 1 };
        path->n = path_end(*path);
        past = path->n + 2;
        if (past > args->n)
            return SMTP_SYNTAX_BAD;
    }
    *args = (struct span){ args->p + past, args->n - past };
    if (!is_at_word_end(*args))
        return SMTP_SYNTAX_BAD;
    return bare ? SMTP_SYNTAX_BARE : SMTP_SYNTAX_OK;
}

enum smtp_syntax smtp_path_args(struct span args, const char *keyword,
                                struct span *path, struct smtp_param *params,
                                size_t *nparams)
{
    size_t k = strlen(keyword);

    *nparams = 0;
    if (!span_starts_nocase(args, keyword))
        return SMTP_SYNTAX_BAD;
    args = span_trim((struct span){ args.p + k, args.n - k });
    enum smtp_syntax form = take_path(&args, path);
    if (form == SMTP_SYNTAX_BAD)
        return form;
    enum smtp_syntax bad = take_params(args, params, nparams);
    return bad != SMTP_SYNTAX_OK ? bad : form;
}

/* Special to a shell, a header field or a markup language. */
static const char helo_forbidden[] = "!\"#$%&'()*;<=>?[\\]^`{|}~";

bool smtp_helo_name(struct span args, struct span *name)
{
    if (args.n == 0 || args.n > 255)
        return false;
    bool literal = args.p[0] == '[';
    if (literal && !smtp_literal_valid(args))
        return false;
    for (size_t i = 0, n; !literal && i < args.n; i += n) {
        char c = args.p[i];
        n = utf8_length(args.p + i, args.n - i);
        if (n == 0 || (unsigned char)c <= ' ' || c == 0x7f ||
            strchr(helo_forbidden, c) != NULL)
            return false;
    }
    *name = args;
    return true;
}
