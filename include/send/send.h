/* send/send.h - the SMTP client: take mail from the queue to remote hosts.
 *
 * One main thread (scheduler, DNS, signals, the only writer of slots) and
 * send.workers threads, each with many sessions in one pselect().  Scheduling
 * rules: docs/send.md. */
#ifndef MTA_SEND_SEND_H
#define MTA_SEND_SEND_H

#include "base/err.h"
#include "config/conf.h"

#include <stdbool.h>

struct send_options {
    bool once;               /* one pass over what is due, then return */
    bool drain;              /* try all at once, return when nothing is left */
    long long drain_timeout; /* seconds; 0: none */
    int line;                /* copies of files come on it (handdown.h) */
    int signer;              /* its end of the channel (signer/signer.h) */
};

/* Call it in a process of its own that has no threads yet; the collector of
 * the log is running and the queue directory made (spool_dirs_make()).  Drops
 * privileges, works until SIGTERM or SIGINT, or as the options say.  SIGUSR1:
 * try all now.  0: no mail is left; 1: mail
 * remains; -1 with *e (ERR_TEMP with sys EWOULDBLOCK: another sender has the
 * queue). */
int send_run(const struct conf *c, const struct send_options *o, struct err *e);
#endif
