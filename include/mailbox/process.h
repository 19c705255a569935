/* mailbox/process.h - the process that writes mailboxes.
 *
 * Forked by deliver's master, as root or as we were started; the only part of
 * the program that touches mailboxes.  It reads requests of one socketpair
 * (mailbox/client.h), takes the identity of the user of each mailbox for the
 * work in it, and answers each copy.  It opens no queue, parses no envelope,
 * speaks to no network and does not log.
 *
 * The other end is less trusted than this one: a packet that is not as
 * mailbox/client.h makes them ends the process, with nothing of that packet
 * done. */
#ifndef MTA_MAILBOX_PROCESS_H
#define MTA_MAILBOX_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct conf;

/* What the process works at, in a page that it shares with deliver.  The
 * process alone writes.  A tag, a step and a time that are read together need
 * not belong together: look twice. */
enum mailbox_step {
    MAILBOX_IDLE,
    MAILBOX_WRITING,   /* a copy, or the directories of its mailbox */
    MAILBOX_SYNCING,   /* a sync; other copies of the turn wait for it too */
    MAILBOX_PUBLISHING /* renames and directory syncs of one mailbox */
};

struct mailbox_progress {
    volatile uint64_t tag;      /* of the copy in hand; 0 while SYNCING */
    volatile uint32_t step;     /* enum mailbox_step */
    volatile uint64_t since_ms; /* clock_mono_ms() when the step began */
    /* By confine(): what is in force, once for all. */
    bool confined, seccomp;
    int landlock;
    char why[200];
};

/* Serve fd, one end of line_pair(), until its other end is closed; closes fd.
 * Settings: local.* and hostname.  *p is zeros at the start.
 * confine() is called once what needs root for good is done, to give up what is
 * not needed from then on; true: no other mail_dir than the present one can be
 * reached, so the process ends with 0 when that is replaced.  NULL: none.
 * Returns the exit status of the process: 0 at the end, EX_PROTOCOL after a
 * malformed packet, EX_NOPERM when it cannot become local.user, EX_OSERR
 * without memory or when root cannot be regained. */
typedef bool mailbox_confine_fn(const struct conf *c,
                                struct mailbox_progress *p);
int mailbox_run(int fd, const struct conf *c, struct mailbox_progress *p,
                mailbox_confine_fn *confine);
#endif
