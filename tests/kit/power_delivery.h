/* power_delivery.h - lives of local mail from the server to its end, with kills
 * and power cuts in them; all with the program's own code.
 *
 * Workers (the server's commit) write to both queues.  The delivery process
 * (src/deliver) consumes local/: it resolves aliases, hands over, writes slots
 * and notices.  A mailbox process gets its packets and answers them from the
 * turns of src/mailbox.  A sender consumes remote/.  All take steps in any
 * order, also in the middle of one another's calls, and are killed at any call.
 * All calls are recorded (disk_model.h).  Then the power is cut at many moments
 * in many ways, and what is left is lived to its end:
 *
 *   each mailbox that accepted mail leads to has its copy, a Maildir one alone;
 *   a copy that was answered as delivered is requested again after a crash only;
 *   each remote target has been sent, and again only if its mark was lost;
 *   the sender of mail for a user that does not exist has a notice;
 *   no segment is left.
 *
 * A step makes two children where a list has an owner.  A crash may leave one
 * of them, and the next step repeats the targets of the other alone: so one
 * copy for each of the two reverse-paths is allowed then.
 *
 * power_delivery_world.c: mail, what was done, what must be true;
 * power_delivery_processes.c: deliver and the mailbox process;
 * power_delivery_sender.c: the sender; power_delivery_life.c: workers, kills,
 * cuts, the end. */
#ifndef MTA_TESTS_POWER_DELIVERY_H
#define MTA_TESTS_POWER_DELIVERY_H

#include "config/conf.h"
#include "spool/queue.h"

#include <stdbool.h>
#include <stdint.h>

/* What is left out. */
enum delivery_rule {
    ALL_OF_THEM,
    LOOK_FIRST,    /* a start looks for copies of its predecessor */
    MARK_LAST,     /* a copy is answered behind its sync */
    TEXT_FIRST,    /* a copy is renamed behind the sync of its text */
    COPY_ENTRY,    /* the entry of a copy is synced */
    BOX_ENTRY,     /* so is that of a new mailbox */
    ONE_NAME,      /* a copy has the same name at each try */
    PUBLISH_FIRST, /* a recipient is marked behind its child's publication */
    MARKS_SYNC,    /* marks are synced before their children are confirmed */
    NOTICE_SYNC    /* a notice is synced before its recipient is marked */
};

struct delivery_life {
    uint64_t seed;
    unsigned epochs, disks; /* disks to look at, an epoch */
    bool quiet;             /* no process is killed */
    bool faults;            /* no kills: calls that fail */
    bool named;             /* drafts in mailboxes have names */
    enum conf_mailbox kind;
    enum delivery_rule without;
    /* what came of it */
    size_t calls, kills, failed_calls, judged, sent, starts;
    size_t copies, children, notices; /* asked, seen by the sender, sent */
    char fault[600];                  /* "": none */
};
void delivery_life_run(struct delivery_life *l);

/* --- mail ------------------------------------------------------------------ */

enum {
    POST_MAX = 96, /* messages in a life */
    POST_TEXT = 8 * 1024,
    POST_SEGMENT = 24 * 1024
};
struct post {
    uint32_t size;
    uint32_t rcpts;  /* a bit for each of post_rcpt() */
    bool from_local; /* its sender is a user */
    size_t promised; /* calls of this epoch; SIZE_MAX: never */
};

/* What mail and what was done; a copy of it is put aside for a look. */
void post_start(struct delivery_life *l);
void post_save(void);
void post_restore(void);
/* Only what happened up to `cut` counts. */
void post_cut_at(size_t cut);
void post_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* NULL: no more. */
struct post *post_new(uint32_t size, uint32_t draw, unsigned *number);
struct post *post_at(unsigned number);
const char *post_rcpt(unsigned i, bool *remote); /* NULL: behind the last */
void post_sender(char out[64], unsigned number);
size_t post_text(char out[POST_TEXT], unsigned number);
/* Of a text that contains that of a message, as it was handed in: its number;
 * -1: it is none, or not whole. */
int post_find(const char *text, size_t n);

extern const char delivery_aliases[], delivery_users[];

/* --- what was done --------------------------------------------------------- */

/* target: 'x' or 'y', 'X' or 'Y' for the owner of a list; 'n': a notice. */
void post_sent(unsigned number, char target);
void post_sent_marked(unsigned number, char target);
void post_marks_synced(void);
void post_marks_stay_unsynced(void);

struct mailbox_request;
void post_asked(const struct mailbox_request *r);
void post_answered(const struct mailbox_request *r);
void post_crash(void); /* of deliver or a mailbox process */

/* A user reads mail: copies go from new to cur. */
void post_read_mail(const struct conf *c, uint64_t draw);
void post_judge(const struct conf *c);

/* --- processes -------------------------------------------------------------- */

enum { A_DELIVER, A_MAILBOX, A_SENDER, A_WORKER, A_ALL = A_WORKER + 2 };

struct delivery_stage {
    struct delivery_life *life;
    uint64_t random;
    struct conf conf;
    struct pool *blocks, *no_blocks; /* no_blocks: bodies go to disk */
};
extern struct delivery_stage delivery_stage;
unsigned delivery_below(unsigned limit);
bool delivery_chance(unsigned one_in);

/* One step, or a start of a process that does not run.  When *killed has become
 * true, it makes no call any more and ends. */
void deliver_step(const bool *killed, bool mailbox_busy);
void mailbox_step(const bool *killed);
void sender_step(const bool *killed);

/* The moment of a kill: what deliver sends from now on never was. */
void deliver_is_killed(void);
/* Without PUBLISH_FIRST, before a call of deliver. */
void deliver_mark_early(void);

void deliver_gone(void);
void mailbox_gone(void);
void sender_gone(void);

/* No call fails: all that is to do; then an orderly end. */
void deliver_finish(void);
void sender_finish(void);
void deliver_stop(void);
void sender_stop(void);
#endif
