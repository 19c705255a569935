/* base/sandbox.h - what a process gives up for good once it has all it needs.
 *
 * The rows of sandbox.c are the table of docs/privileges.md: what each process
 * may still do.  Everything is best effort: a kernel that lacks a part costs
 * that part alone, and the report names it. */
#ifndef MTA_BASE_SANDBOX_H
#define MTA_BASE_SANDBOX_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sandbox_row {
    SANDBOX_WORKER,
    SANDBOX_HELPER,
    SANDBOX_DELIVER,
    SANDBOX_MAILBOX,       /* as one user */
    SANDBOX_MAILBOX_USERS, /* takes the identity of each user */
    SANDBOX_SENDER,
    SANDBOX_SIGNER,
    SANDBOX_SENDER_UNIX, /* a route leads to a Unix socket */
    SANDBOX_TOKEN,
    SANDBOX_COLLECTOR,
    SANDBOX_ROWS
};

enum { SANDBOX_PORTS_MAX = 8 };

struct sandbox_paths {
    const char *queue_dir; /* NULL: no file is needed */
    const char *mail_dir;  /* of mailboxes; NULL: the users' homes */
    uint16_t dns_port[SANDBOX_PORTS_MAX]; /* of a worker's name servers */
    size_t ndns;
};

struct sandbox_report {
    const char *process;
    bool no_new_privileges, seccomp;
    int landlock;   /* the ABI in force; 0: none */
    struct err why; /* of what is not in force, if it should be */
};

/* Give up what the row does not have.  Call it after the change of user, before
 * threads are made, and when the descriptors are open that the row could not
 * open later.  paths NULL: files are left as they are. */
void sandbox_enter(enum sandbox_row row, const struct sandbox_paths *paths,
                   struct sandbox_report *report);

/* For the supervisor and the masters, which keep what processes need that they
 * have yet to fork: no program that they start gets more than they have. */
bool sandbox_no_new_privileges(void);

/* The memory of this process, and of those that it forks, has secrets: no core
 * is written, and no process of its user can read it. */
void sandbox_no_core(void);
#endif
