/* cli/mailq.h - the list of the queue as Postfix prints it, which programs that
 * watch a mail system parse. */
#ifndef MTA_CLI_MAILQ_H
#define MTA_CLI_MAILQ_H

#include "cli/options.h"

#include <stdbool.h>

/* Was the program called mailq, without an own wish for the form, and not by a
 * person at a terminal? */
bool mailq_is_wanted(int argc, char **argv);

/* Print it; the exit status. */
int mailq_print(const struct options *o);
#endif
