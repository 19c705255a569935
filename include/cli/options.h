/* cli/options.h - read a command's flags and load the configuration.
 *
 * Every command knows -c FILE, -o key=value (repeatable), --json and -h; its
 * own flags stand in a table.  `--name value`, `--name=value`, `-x value`
 * and `-xvalue` are all understood, flags and operands may be mixed, and
 * `--` ends the flags.  What is wrong is printed on stderr. */
#ifndef MTA_CLI_OPTIONS_H
#define MTA_CLI_OPTIONS_H

#include "config/conf.h"

#include <stdbool.h>

/* Exactly one of setting, on and text is set.  The flag --port with the setting
 * serve.listen changes the port of each address to listen on. */
struct option {
    const char *name;    /* "--port" or "-f" */
    const char *setting; /* the setting that its value sets, or NULL */
    bool *on;            /* no value; *on becomes true */
    const char **text;   /* its value; the last one wins */
};

#define OPTION_SETTING(name, key)                                              \
    {                                                                          \
        (name), (key), NULL, NULL                                              \
    }
#define OPTION_ON(name, flag)                                                  \
    {                                                                          \
        (name), NULL, (flag), NULL                                             \
    }
#define OPTION_TEXT(name, value)                                               \
    {                                                                          \
        (name), NULL, NULL, (value)                                            \
    }

/* Flags and operands of a command.  Lives as long as struct options. */
struct options_spec {
    const struct option *flags;
    size_t nflags;
    int min_args, max_args; /* operands; max_args < 0: any number */
    bool starts; /* or checks a start: show warnings about settings */
};

enum { OPTIONS_OVER_MAX = 128 };

struct options {
    struct conf conf; /* of options_read() and options_load() */
    bool json;
    char **args; /* the operands */
    int nargs;
    struct conf_source source; /* for a reload */
    int status;                /* exit status after a function returned false */
    const char *command;
    struct conf_override over[OPTIONS_OVER_MAX];
    char port[16]; /* ":" and the value of --port */
};

/* Flags, then configuration.  False: end with o->status (EX_OK after -h,
 * EX_USAGE, EX_CONFIG, EX_OSERR); nothing is to be freed then.  After true:
 * options_done().  argv must live as long as o, because o points into it,
 * and is rewritten (operands first, the "key=value" of -o cut in two).  o
 * points into itself too: it may not be copied. */
bool options_read(struct options *o, const struct options_spec *spec, int argc,
                  char **argv);

/* The two halves, for a command that needs no configuration. */
bool options_parse(struct options *o, const struct options_spec *spec, int argc,
                   char **argv);
bool options_load(struct options *o);

void options_done(struct options *o);

/* "mta COMMAND: text" on stderr, and where to read more; returns EX_USAGE. */
__attribute__((format(printf, 2, 3))) int
options_refuse(const struct options *o, const char *fmt, ...);

/* "mta COMMAND: warning: text" on stderr; fits conf_warn_fn with the struct
 * options as ctx. */
void options_warn(void *options, const char *text);
#endif
