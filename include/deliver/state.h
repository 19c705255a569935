/* deliver/state.h - the state of the delivery process, which its parts share.
 * For src/deliver alone.
 *
 *   schedule         due recipients and their turns
 *   work             a message in hand and its recipients, as in the envelope
 *   expand           to which targets they lead; children in their place
 *   mailboxes        mailbox processes: copies in flight, replaced processes
 *   copy             one recipient and its mailbox, from there to its answer
 *   deliver          the process: line, signals, main loop
 *
 * The queue (queue/queue.h) stands below: it reads messages from the disk,
 * reports recipients that are due, and takes results and children. */
#ifndef MTA_DELIVER_STATE_H
#define MTA_DELIVER_STATE_H

#include "base/map.h"
#include "config/conf.h"
#include "deliver/deliver.h"
#include "net/loop.h"
#include "queue/housekeeping.h"
#include "queue/queue.h"
#include "recipient/resolve.h"
#include "recipient/user_asker.h"

enum {
    DELIVER_MAILBOXES_MAX = 64,
    DELIVER_FAULT_SECONDS = 5, /* for a shortage of ours, uncounted */
    DELIVER_FAULTS = 64
};

struct mailbox_end;

/* Each group has one owner, the file named with it; other files call its
 * functions. */
struct deliver {
    const struct deliver_options *o;
    const struct conf *conf;
    struct loop *loop;
    struct queue queue;
    struct housekeeping housekeeping;
    struct local *local;
    struct user_asker *asker; /* NULL: local.users needs none */
    bool starting;            /* what is found may be half done by a crash */
    bool stopping;            /* nothing new is begun */

    struct {                /* schedule.c */
        struct list due;    /* recipients, those of a message together */
        struct list asking; /* the user helper is asked about their message */
    } schedule;
    struct {                     /* mailboxes.c */
        struct mailbox_end *end; /* of n processes, and of the patient one */
        unsigned n;
        struct map boxes;     /* mailboxes with copies, or patient */
        struct list patients; /* the latest last */
        unsigned npatients;
        uint64_t ncopies; /* without an answer */
        struct loop_timer watch;
    } mailbox;
    struct {          /* copy.c */
        uint64_t key; /* hash; of the mailbox with a fault of ours */
        uint32_t logged;
    } fault[DELIVER_FAULTS];
};

/* Everything but the line and signals.  On failure too, the caller calls
 * deliver_close(). */
int deliver_open(struct deliver *d, const struct deliver_options *o,
                 const sigset_t *wait_mask, struct err *e);
void deliver_close(struct deliver *d);

/* What came on the line.  1: it has ended. */
int deliver_take_line(struct deliver *d, int line);

/* A turn, behind the wait: housekeeping, due mail, notices and children,
 * copies to mailbox processes.  flush: all is due. */
int deliver_turn(struct deliver *d, bool flush, struct err *e);

/* Is there something to do now? */
bool deliver_is_busy(const struct deliver *d);
#endif
