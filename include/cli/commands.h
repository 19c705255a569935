/* cli/commands.h - the commands of the one binary.
 *
 * The table is the whole program: dispatch, help, install links and the
 * command list of the man page are read from it (src/cli/commands.c), so a
 * command cannot exist half-way.  A command gets its own argv (argv[0] is
 * its name) and returns the exit status, from sysexits.h.  Only this folder
 * and mta.c print to a terminal or exit. */
#ifndef MTA_CLI_COMMANDS_H
#define MTA_CLI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *aliases; /* names of argv[0] that mean it, blank-separated */
    const char *args, *help;
    const char *more; /* the body of `mta help NAME`: options, examples */
};

/* By its name; NULL when there is none. */
const struct command *command_find(const char *name);

/* By argv[0]: "mta-serve", "smtpd", "/usr/sbin/sendmail". */
const struct command *command_by_program(const char *argv0);

void command_usage(FILE *out, const struct command *c);

/* What the program is and what to do next. */
void command_greet(FILE *out);

/* The name of `given` closest to a known command, or NULL. */
const char *command_nearest(const char *given);

int cmd_check(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_deliver(int argc, char **argv);
int cmd_dkim(int argc, char **argv);
int cmd_fsm(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_sendmail(int argc, char **argv);
int cmd_serve(int argc, char **argv);
#endif
