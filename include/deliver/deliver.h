/* deliver/deliver.h - the delivery process: local mail from the queue into
 * mailboxes.
 *
 * The one consumer of local/.  It resolves recipients, replaces aliases by what
 * they stand for, schedules, writes slots and notices; mailbox processes write
 * the mail.  Its master (deliver/master.h) forks it and them.  Rules:
 * docs/delivery.md. */
#ifndef MTA_DELIVER_DELIVER_H
#define MTA_DELIVER_DELIVER_H

#include "base/err.h"
#include "config/conf.h"

#include <stdbool.h>

struct full_page;
struct mailbox_progress;

/* Messages on the line.  Down, besides files (base/handdown.h), each with a
 * descriptor: a new mailbox process or user helper.  Up: one of them has to be
 * killed (SIGKILL) and replaced, or, for the patient mailbox process, started.
 * Numbers are decimal. */
#define DELIVER_MAILBOX "mailbox "         /* and its number */
#define DELIVER_HELPER "helper"            /* down */
#define DELIVER_REPLACE "replace mailbox " /* and its number */
#define DELIVER_REPLACE_HELPER "replace helper"

struct deliver_options {
    const struct conf *conf;
    int line;  /* to the master; its end is a SIGTERM */
    bool once; /* one pass over what is due, then return */
    /* Of deliver.workers mailbox processes, and of the patient one, which has
     * that number; shared memory. */
    const struct mailbox_progress *progress;
    struct full_page *full; /* shared with the workers of the server */
};

/* Runs in a process of its own: privileges are dropped, the log is open, the
 * queue directory made (spool_dirs_make()).  Works until SIGTERM or SIGINT, or
 * as the options say.  SIGUSR1: try all now.  0: no mail is left; 1: mail
 * remains; -1 with *e (ERR_TEMP with sys EWOULDBLOCK: another process has the
 * queue). */
int deliver_run(const struct deliver_options *o, struct err *e);
#endif
