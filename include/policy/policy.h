/* policy/policy.h - checks of a client before it gets a reply.
 *
 * The checks are rows of one table: stage, name, ask, cancel.  policy_ask()
 * runs those of a stage in order until one of them rejects or must wait.  A
 * check that needs a query returns VERDICT_WAIT, calls policy_answered() later,
 * from the loop, and is then run again; its results are kept in struct policy.
 * A new check is a file of its own, a row in policy.c and, when it has a state,
 * a member of struct policy. */
#ifndef MTA_POLICY_POLICY_H
#define MTA_POLICY_POLICY_H

#include "base/addr.h"
#include "config/conf.h"
#include "dns/fcrdns.h"
#include "net/loop.h"
#include "policy/verdict.h"

#include <stdbool.h>
#include <stddef.h>

/* The reply that waits for the verdict. */
enum policy_stage {
    POLICY_CONNECT, /* the banner */
    POLICY_HELO,
    POLICY_MAIL,
    POLICY_RCPT,
    POLICY_DATA,
    POLICY_DOT /* the whole message is received */
};

struct policy;

struct policy_check {
    enum policy_stage stage;
    const char *name;
    struct verdict (*ask)(struct policy *p);
    void (*cancel)(struct policy *p); /* on disconnect; NULL: nothing to do */
};
extern const struct policy_check policy_checks[];
extern const size_t policy_nchecks;

/* The longest wait for a name that only the Received field needs. */
enum { POLICY_NAME_WAIT_MS = 2000 };

/* Shared by the checks of all clients of a process. */
struct policy_env {
    const struct policy_check *checks;
    size_t nchecks;
    struct loop *loop;
    struct dns *dns;
    enum conf_rdns rdns;
    unsigned name_wait_ms; /* POLICY_NAME_WAIT_MS, but in tests */
    /* fcrdns_ask() and fcrdns_cancel(), but in tests */
    struct fcrdns_query *(*ask_name)(struct dns *dns, const struct addr *client,
                                     fcrdns_fn *fn, void *ctx, struct err *e);
    void (*cancel_name)(struct fcrdns_query *q);
};

/* rdns.c: the confirmed name of the client. */
struct policy_rdns {
    struct fcrdns_query *query; /* NULL: none under way */
    struct loop_timer timer;    /* bounds the wait of DATA */
    char *name;                 /* owned; NULL: none */
    unsigned char status;       /* enum fcrdns_status */
    bool asked;
};

/* One client.  Stands in its session and does not move. */
struct policy {
    const struct policy_env *env;
    const struct addr *peer;
    const char *sid;
    bool exempt; /* of a relay network: never rejected, never delayed */
    bool waiting;
    unsigned char next; /* the check that waits */
    void (*answered)(void *ctx);
    void *ctx;
    struct policy_rdns rdns;
};

/* *p is zeroed except the members that the owner has set: env, peer, sid,
 * exempt, answered (called from the loop alone) and ctx. */
struct verdict policy_ask(struct policy *p, enum policy_stage stage);
void policy_cancel(struct policy *p); /* releases the resources of all checks */

/* Called by a check that waited: run it again. */
void policy_answered(struct policy *p);
#endif
