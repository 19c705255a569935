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
    bool serves;        /* a server, so relay_host may not be this host */
    uid_t uid;          /* out: of user; (uid_t)-1: keep */
    gid_t gid;          /* out: of user and group; (gid_t)-1: keep */
    conf_warn_fn *warn; /* for faults that do not prevent a start */
    void *warn_ctx;
};

/* 0; or -1 with *e, which names the place of the faulty setting. */
int start_check(struct start_check *s, struct err *e);
#endif
