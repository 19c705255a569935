/* mta.c - one binary, many names: argv[0] or the first argument picks a
 * command of the table in src/cli/commands.c. */
#include "base/title.h"
#include "cli/commands.h"
#include "config/env.h"
#include "net/tls_memory.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static int unknown(const char *word)
{
    const char *near = command_nearest(word);

    fprintf(stderr, "mta: unknown command '%s'", word);
    if (near != NULL)
        fprintf(stderr, "; did you mean '%s'?", near);
    fputs("\nTry 'mta help'.\n", stderr);
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 1)
        return EX_USAGE;
    argv = title_open(argc, argv);
    /* A setuid program that calls us has the environment of its caller. */
    if (getuid() != geteuid() || getgid() != getegid())
        conf_env_forget();
    (void)tls_memory_start();
    const struct command *c = command_by_program(argv[0]);
    if (c == NULL && argc > 1) {
        if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
            argv[1] = "help";
        if (strcmp(argv[1], "--version") == 0)
            argv[1] = "version";
        c = command_find(argv[1]);
        if (c == NULL) /* mta mailq */
            c = command_by_program(argv[1]);
        if (c == NULL)
            return unknown(argv[1]);
        argc--;
        argv++;
    }
    if (c == NULL) {
        command_greet(stderr);
        return EX_USAGE;
    }
    int status = c->run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("mta: standard output");
        return status == EX_OK ? EX_IOERR : status;
    }
    return status;
}
