/* deliver_rig.h - the delivery process without its master: the test plays the
 * mailbox processes and moves the clock, which stands from open to close.
 *
 * Messages go into a real queue in a directory of its own; recipients are
 * resolved by real tables.  What is given to a mailbox process waits in its
 * socket until the test takes it. */
#ifndef MTA_TEST_DELIVER_RIG_H
#define MTA_TEST_DELIVER_RIG_H

#include "deliver/state.h"
#include "mailbox/process.h"
#include "mailbox/request.h"

enum { RIG_MAILBOXES = 2, RIG_PATIENT = RIG_MAILBOXES, RIG_TEXT = 4096 };

struct deliver_rig {
    struct deliver d;
    struct conf conf;
    struct deliver_options o;
    struct mailbox_progress progress[RIG_MAILBOXES + 1];
    int line;                       /* the master's end */
    int process[RIG_MAILBOXES + 1]; /* the processes' ends; -1: none */
    struct list copies;             /* taken out of packets */
    char dir[64], aliases[96], users[96];
    bool settled;  /* not begun by a start: nothing is looked for */
    uint64_t part; /* of the next messages */
};

/* A copy that a process was given. */
struct rig_copy {
    struct list link;
    unsigned process;
    struct mailbox_request r;
    char key[MAILBOX_KEY_MAX], from[256], to[256];
};

/* Extra settings as "key=value", NULL at the end; may be NULL.  Domains are
 * here.test and localhost, users those of the text, one a line.  Aliases with a
 * command are as those of a file that no setting names. */
struct deliver_rig *deliver_rig_open(const char *const *settings,
                                     const char *aliases, const char *users);
void deliver_rig_close(struct deliver_rig **r);

/* Other aliases, as the supervisor hands them down. */
void deliver_rig_renew(struct deliver_rig *r, const char *aliases);

/* A message to `rcpts`, separated by commas, a "!" in front: its address
 * literal is ours; fields of header in front of the text. */
void deliver_rig_add(struct deliver_rig *r, const char *sender,
                     const char *rcpts, const char *fields);

/* The same, handed over by the sender, by tables that it has had since then. */
void deliver_rig_add_back(struct deliver_rig *r, const char *sender,
                          const char *rcpts, uint64_t tables_us);

/* What is ready, what is due; until nothing is to be done. */
void deliver_rig_turn(struct deliver_rig *r);
/* The clock goes on; then a turn. */
void deliver_rig_wait(struct deliver_rig *r, unsigned seconds);

void deliver_rig_connect(struct deliver_rig *r, unsigned process);
/* It ends by itself over that copy; NULL: over none.  A successor comes. */
void deliver_rig_die(struct deliver_rig *r, unsigned process,
                     const struct rig_copy *over);
/* It has stood over that copy for so many ms. */
void deliver_rig_stand(struct deliver_rig *r, const struct rig_copy *over,
                       unsigned ms);

/* The next copy that was given; the test's until it answers.  NULL: none. */
struct rig_copy *deliver_rig_next(struct deliver_rig *r);
/* Takes the copy. */
void deliver_rig_answer(struct deliver_rig *r, struct rig_copy *c,
                        enum mailbox_outcome outcome, const char *status);
void deliver_rig_answer_as(struct deliver_rig *r, struct rig_copy *c,
                           struct mailbox_answer *a);

/* The next message to the master, "" when there is none. */
const char *deliver_rig_asked(struct deliver_rig *r, char text[RIG_TEXT]);

/* All records of both queues but notices, by part, a line each:
 *   QUEUE PART <REVERSE-PATH> ADDRESS=STATE[:STATUS] ... */
const char *deliver_rig_records(const struct deliver_rig *r,
                                char text[RIG_TEXT]);
/* The recipients of notices, with a blank behind each. */
const char *deliver_rig_notices(const struct deliver_rig *r,
                                char text[RIG_TEXT]);
#endif
