/* sendmail_options.c - the options of sendmail(8), of all the programs of that
 * name.
 *
 * Callers were written for one of them and run with another, so what is not
 * known is passed over: an option must not cost a message.  An unknown mode
 * (-b) is refused, because the input may then be no message. */
#include "cli/sendmail.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct scan {
    struct sendmail_options *o;
    char **argv;
    int argc, at;
};

int sendmail_fail(int status, const char *fmt, ...)
{
    va_list ap;

    fputs("sendmail: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

static const char *next_word(const struct scan *s)
{
    return s->at + 1 < s->argc ? s->argv[s->at + 1] : NULL;
}

static int take_value(struct scan *s, char letter, const char *value)
{
    struct sendmail_options *o = s->o;

    if (*value == '\0' && next_word(s) == NULL)
        return sendmail_fail(EX_USAGE, "-%c needs a value", letter);
    if (*value == '\0')
        value = s->argv[++s->at];
    switch (letter) {
    case 'B': o->eight_bit = strcmp(value, "8BITMIME") == 0; break;
    case 'C': o->config = value; break;
    case 'F': o->name = value; break;
    case 'f':
    case 'r': o->sender = value; break;
    case 'N': o->notify = value; break;
    case 'R': o->ret = value; break;
    case 'V': o->envid = value; break;
    default: break; /* of no effect here */
    }
    return EX_OK;
}

static int take_mode(struct scan *s, const char *rest)
{
    struct sendmail_options *o = s->o;

    if (*rest == '\0' && next_word(s) != NULL)
        rest = s->argv[++s->at];
    switch (*rest) {
    case 'a':
    case 'm': o->mode = SENDMAIL_SUBMIT; break;
    case 's': o->mode = SENDMAIL_SMTP; break;
    case 'p': o->mode = SENDMAIL_LIST; break;
    case 'v':
    case 't': o->mode = SENDMAIL_VERIFY; break;
    case 'i': o->mode = SENDMAIL_ALIASES; break;
    case 'd':
    case 'D':
    case 'l': o->mode = SENDMAIL_DAEMON; break;
    case 'h':
    case 'H': o->mode = SENDMAIL_NOTHING; break;
    default:
        return sendmail_fail(EX_USAGE,
                             "-b%s: no such mode; see mta help sendmail", rest);
    }
    return EX_OK;
}

/* -q, -q15m, -qf; -qItext, -qRtext, -qStext, where the text may be the next
 * word. */
static int take_queue(struct scan *s, const char *rest)
{
    struct sendmail_options *o = s->o;

    if (o->mode == SENDMAIL_SUBMIT)
        o->mode = SENDMAIL_FLUSH;
    if (*rest == '\0' || strchr("IRS", *rest) == NULL)
        return EX_OK;
    if (rest[1] == '\0' && next_word(s) == NULL)
        return sendmail_fail(EX_USAGE, "-q%c needs a value", *rest);
    o->queued = *rest;
    o->queued_text = rest[1] != '\0' ? rest + 1 : s->argv[++s->at];
    return EX_OK;
}

/* -oi, -oitrue and -odq; the others have no effect.  Some callers write "-o i"
 * and "-e m". */
static void take_old(struct scan *s, char letter, const char *rest)
{
    const char *next = next_word(s);

    if (*rest == '\0' && next != NULL && next[0] != '-' && next[0] != '\0' &&
        next[1] == '\0')
        rest = s->argv[++s->at];
    if (letter == 'o' && (strcmp(rest, "i") == 0 || strcmp(rest, "itrue") == 0))
        s->o->dots = true;
    if (letter == 'o' && rest[0] == 'd')
        s->o->queue_only = strcmp(rest, "dq") == 0;
}

static void note_unknown(struct scan *s)
{
    if (s->o->unknown == NULL)
        s->o->unknown = s->argv[s->at];
}

/* The letters of a word; the first with a value ends it. */
static int take_word(struct scan *s)
{
    struct sendmail_options *o = s->o;

    for (const char *p = s->argv[s->at] + 1; *p != '\0';) {
        char c = *p++;
        switch (c) {
        case 'i': o->dots = true; break;
        case 't': o->from_text = true; break;
        case 'v': o->verbose = true; break;
        case 'I': o->mode = SENDMAIL_ALIASES; break;
        case 'b': return take_mode(s, p);
        case 'q': return take_queue(s, p);
        case 'e':
        case 'o': take_old(s, c, p); return EX_OK;
        case 'A': /* -Ac, -Am */
        case 'd': return EX_OK;
        case 'c':
        case 'E':
        case 'G':
        case 'J':
        case 'm':
        case 'n':
        case 'U':
        case 'x': break;
        default:
            if (strchr("BCFfhLNOpRrVX", c) != NULL)
                return take_value(s, c, p);
            note_unknown(s);
            return EX_OK;
        }
    }
    return EX_OK;
}

int sendmail_options(struct sendmail_options *o, int argc, char **argv)
{
    struct scan s = { o, argv, argc, 1 };
    bool options = true;
    int status = EX_OK;

    *o = (struct sendmail_options){ .args = argv + 1 };
    for (; s.at < argc && status == EX_OK; s.at++) {
        char *word = argv[s.at];
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (!options || word[0] != '-' || word[1] == '\0')
            o->args[o->nargs++] = word;
        else if (strcmp(word, "--help") == 0)
            o->mode = SENDMAIL_HELP;
        else if (word[1] == '-')
            note_unknown(&s);
        else
            status = take_word(&s);
    }
    return status;
}
