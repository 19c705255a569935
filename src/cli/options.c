/* options.c - flags of commands. */
#include "cli/options.h"

#include "base/span.h"
#include "base/suggest.h"
#include "cli/commands.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

/* A scan of argv; operands are moved to its front, behind argv[0]. */
struct scan {
    struct options *o;
    const struct options_spec *spec;
    char **argv;
    int argc, at;
};

__attribute__((format(printf, 2, 0))) static void
complain(const struct options *o, const char *fmt, va_list ap)
{
    fprintf(stderr, "mta %s: ", o->command);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\nTry 'mta help %s'.\n", o->command);
}

__attribute__((format(printf, 2, 3))) static bool misuse(struct options *o,
                                                         const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(o, fmt, ap);
    va_end(ap);
    o->status = EX_USAGE;
    return false;
}

int options_refuse(const struct options *o, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(o, fmt, ap);
    va_end(ap);
    return EX_USAGE;
}

/* --- the flags of all commands --------------------------------------- */

static const char *const general[] = { "-c", "-o", "--json", "-h", "--help" };

static void offer(const char *given, size_t n, const char *name,
                  const char **best, unsigned *least)
{
    char word[64];

    if (!span_copy(word, sizeof word, (struct span){ given, n }))
        return;
    unsigned d = edit_distance(word, name);
    if (d < *least) {
        *least = d;
        *best = name;
    }
}

static bool unknown_flag(struct scan *s, const char *word)
{
    size_t n = span_find(span_of(word), '=');
    /* Half of the letters changed: another word. */
    unsigned least = n < 3 ? 1 : n < 6 ? 2 : n < 8 ? 3 : 4;
    const char *near = NULL;

    for (size_t i = 0; i < s->spec->nflags; i++)
        offer(word, n, s->spec->flags[i].name, &near, &least);
    for (size_t i = 0; i < sizeof general / sizeof general[0]; i++)
        offer(word, n, general[i], &near, &least);
    if (near == NULL)
        return misuse(s->o, "unknown flag '%.*s'", (int)n, word);
    return misuse(s->o, "unknown flag '%.*s'; did you mean '%s'?", (int)n, word,
                  near);
}

/* Is the word this flag?  Then *value is the text joined to it. */
static bool gives(const char *word, const char *name, char **value)
{
    size_t n = strlen(name);

    if (strncmp(word, name, n) != 0)
        return false;
    *value = NULL;
    if (word[n] == '\0')
        return true;
    if (name[1] == '-' && word[n] != '=')
        return false;
    *value = (char *)(word + n + (name[1] == '-'));
    return true;
}

static bool need_value(struct scan *s, const char *name, char **value)
{
    if (*value == NULL) {
        if (s->at + 1 >= s->argc)
            return misuse(s->o, "%s needs a value", name);
        *value = s->argv[++s->at];
    }
    return true;
}

static bool no_value(struct scan *s, const char *name, const char *value)
{
    return value == NULL || misuse(s->o, "%s takes no value", name);
}

static bool override(struct scan *s, const char *key, const char *value,
                     const char *where)
{
    struct options *o = s->o;

    if (o->source.nover == OPTIONS_OVER_MAX)
        return misuse(o, "more than %d settings", OPTIONS_OVER_MAX);
    o->over[o->source.nover++] = (struct conf_override){ key, value, where };
    return true;
}

static bool take_setting(struct scan *s, char *value)
{
    char *equals = strchr(value, '=');

    if (equals == NULL)
        return misuse(s->o, "-o %s: should be key=value", value);
    *equals = '\0';
    return override(s, value, equals + 1, "-o");
}

static bool is_port(const struct option *f)
{
    return strcmp(f->name, "--port") == 0 &&
           strcmp(f->setting, "serve.listen") == 0;
}

/* Store a port as ":PORT", which the loader completes to an address. */
static bool take_port(struct scan *s, const struct option *f, const char *value)
{
    char *text = s->o->port;
    int n = snprintf(text, sizeof s->o->port, ":%s", value);

    if (n < 0 || (size_t)n >= sizeof s->o->port)
        return misuse(s->o, "%s: '%.40s' is not a port", f->name, value);
    return override(s, f->setting, text, f->name);
}

static bool take_flag(struct scan *s, const struct option *f, char *value)
{
    if (f->on != NULL) {
        *f->on = true;
        return no_value(s, f->name, value);
    }
    if (!need_value(s, f->name, &value))
        return false;
    if (f->text != NULL)
        *f->text = value;
    else if (is_port(f))
        return take_port(s, f, value);
    else
        return override(s, f->setting, value, f->name);
    return true;
}

static bool take_help(struct scan *s)
{
    const struct command *c = command_find(s->o->command);

    if (c != NULL)
        command_usage(stdout, c);
    s->o->status = EX_OK;
    return false;
}

static bool take_word(struct scan *s, char *word)
{
    char *value;

    /* The command's own flags first: they may shadow a general one. */
    for (size_t i = 0; i < s->spec->nflags; i++)
        if (gives(word, s->spec->flags[i].name, &value) &&
            (s->spec->flags[i].on == NULL || value == NULL || word[1] == '-'))
            return take_flag(s, &s->spec->flags[i], value);
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)
        return take_help(s);
    if (gives(word, "--json", &value)) {
        s->o->json = true;
        return no_value(s, "--json", value);
    }
    if (gives(word, "-c", &value)) {
        if (!need_value(s, "-c", &value))
            return false;
        s->o->source.file = value;
        return true;
    }
    if (gives(word, "-o", &value))
        return need_value(s, "-o", &value) && take_setting(s, value);
    return unknown_flag(s, word);
}

/* The name of the command; argv[0] may be that of a program instead. */
static const char *command_name(const char *argv0)
{
    const struct command *c = command_find(argv0);

    if (c == NULL)
        c = command_by_program(argv0);
    return c != NULL ? c->name : argv0;
}

void options_warn(void *options, const char *text)
{
    fprintf(stderr, "mta %s: warning: %s\n",
            ((const struct options *)options)->command, text);
}

bool options_parse(struct options *o, const struct options_spec *spec, int argc,
                   char **argv)
{
    struct scan s = { .o = o, .spec = spec, .argv = argv, .argc = argc };
    bool flags = true;

    memset(o, 0, sizeof *o);
    o->command = argc > 0 ? command_name(argv[0]) : "";
    o->source.over = o->over;
    o->source.warn = spec->starts ? options_warn : NULL;
    o->source.warn_ctx = o;
    o->args = argv + (argc > 0);
    for (s.at = 1; s.at < argc; s.at++) {
        char *word = argv[s.at];
        if (flags && strcmp(word, "--") == 0)
            flags = false;
        else if (!flags || word[0] != '-' || word[1] == '\0')
            o->args[o->nargs++] = word;
        else if (!take_word(&s, word))
            return false;
    }
    if (o->nargs < spec->min_args) {
        const struct command *c = command_find(o->command);
        return c == NULL ? misuse(o, "an operand is missing")
                         : misuse(o, "an operand is missing: mta %s %s",
                                  c->name, c->args);
    }
    if (spec->max_args >= 0 && o->nargs > spec->max_args)
        return misuse(o, "'%s' is not expected here", o->args[spec->max_args]);
    return true;
}

static int status_of(const struct err *e)
{
    return e->kind == ERR_USAGE  ? EX_USAGE
           : e->kind == ERR_TEMP ? EX_OSERR
                                 : EX_CONFIG;
}

/* The way out, where the file of the settings itself cannot be read. */
static const char *hint(const struct options *o, const struct err *e)
{
    const char *file = o->source.file;

    if (file == NULL || strncmp(e->text, file, strlen(file)) != 0)
        return "";
    return e->sys == ENOENT   ? "; 'mta config --dump' prints a sample"
           : e->sys == EACCES ? "; start as its owner or as root"
                              : "";
}

bool options_load(struct options *o)
{
    struct err e;

    if (conf_load(&o->conf, &o->source, &e) == 0)
        return true;
    fprintf(stderr, "mta %s: %s%s\n", o->command, e.text, hint(o, &e));
    o->status = status_of(&e);
    return false;
}

bool options_read(struct options *o, const struct options_spec *spec, int argc,
                  char **argv)
{
    return options_parse(o, spec, argc, argv) && options_load(o);
}

void options_done(struct options *o)
{
    conf_free(&o->conf);
}
