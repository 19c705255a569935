/* deliver/master.h - the service of local delivery: one master, the delivery
 * process, its mailbox processes and its user helper.
 *
 * The master parses nothing and opens nothing: it forks the others, hands the
 * delivery process (deliver/deliver.h) the ends of their pairs, and replaces
 * those that die, or that the delivery process reports as stuck.  Started by
 * root it keeps the real user id, because mailbox processes need it, and acts
 * with the ids of `user`.
 *
 *   delivery process  user        ends: so does the service, with its status;
 *                                 is killed: all others are replaced, too
 *   mailbox process   as started  ends when the delivery process has ended,
 *   user helper       user        or has closed the other end of its pair
 *
 * SIGTERM and SIGINT stop the service within stop_timeout; SIGUSR1 is passed
 * on to the delivery process. */
#ifndef MTA_DELIVER_MASTER_H
#define MTA_DELIVER_MASTER_H

#include "base/err.h"
#include "config/conf.h"
#include "mailbox/process.h"

struct deliver_master_options {
    const struct conf *conf;
    int line; /* to the supervisor, which sends copies of files */

    /* The delivery process: returns its exit status.  progress: of the mailbox
     * processes, deliver.workers and the patient one. */
    int (*deliver)(void *ctx, int line,
                   const struct mailbox_progress *progress);
    void *ctx;
};

/* Run as the master until a signal or the delivery process ends it.  The queue
 * directory must exist (spool_dirs_make()).  Returns the exit status, or -1
 * with *e when it could not start. */
int deliver_master_run(const struct deliver_master_options *o, struct err *e);
#endif
