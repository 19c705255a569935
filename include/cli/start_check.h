/* cli/start_check.h - what a start checks that settings alone do not show:
 * accounts, directories, files, the host itself.
 *
 * Every command that starts something calls it, and a reload does; so does
 * `mta config --check`.  It makes and changes nothing. */
#ifndef MTA_CLI_START_CHECK_H
#define MTA_CLI_START_CHECK_H

#include "config/conf.h"

#include <sys/types.h>

struct start_check {
    const struct conf *conf;
    bool serves;        /* it listens, so relay_host may not be itself */
    uid_t uid;          /* out: of user; (uid_t)-1: stay */
    gid_t gid;          /* out: of user and group; (gid_t)-1: stay */
    conf_warn_fn *warn; /* for what does not stop a start */
    void *warn_ctx;
};

/* 0; or -1 with *e, which names the place of the setting that is at fault. */
int start_check(struct start_check *s, struct err *e);

/* The exit status of a start that failed so. */
int start_status(const struct err *e);
#endif
