/* send/token.h - the process that runs the command of send.relay_token.
 *
 * A service of the supervisor, with the ids of `user`.  It runs that program
 * and no other, without a shell, arguments and the environment of mta, and
 * answers the sender, which asks over a pair (cli/supervise.h): one octet is
 * the question, TOKEN_GOOD and the token, or TOKEN_BAD and the reason, the
 * answer.
 * The first line of what the program prints is the token; a program that takes
 * longer than TOKEN_SECONDS, prints more than a token may have or ends with
 * another status than 0 has none. */
#ifndef MTA_SEND_TOKEN_H
#define MTA_SEND_TOKEN_H

#include "config/conf.h"
#include "smtp/sasl.h"

enum {
    TOKEN_SECONDS = 30,
    TOKEN_QUESTION = '?',
    TOKEN_GOOD = '+',
    TOKEN_BAD = '-',
    TOKEN_ANSWER_MAX = 1 + SASL_TOKEN_MAX
};

/* Until SIGTERM, or until the supervisor has ended.  line: to the supervisor.
 * -1 with *e: it could not start. */
int token_run(const struct conf *c, int line, struct err *e);

/* For `mta check`: answer what is asked on this end of a pair until its other
 * end is closed, with the ids and limits of that service; logs nothing.  -1
 * with *e: it could not start, and the answer says so. */
int token_answer(const struct conf *c, int pair, struct err *e);

/* Can the program be run at all?  For a start; the error names the setting. */
int token_check(const struct conf *c, struct err *e);
#endif
