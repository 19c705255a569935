/* cli/setup.h - settings, copies of the files they name, listening sockets and
 * the log file, which the supervisor reads, checks and opens for its services.
 *
 * A start makes one.  A reload makes a second one in full; an error leaves the
 * first one unchanged. */
#ifndef MTA_CLI_SETUP_H
#define MTA_CLI_SETUP_H

#include "base/handdown.h"
#include "cli/listeners.h"
#include "cli/options.h"

/* Services that alone have copies of files with secrets: bits for
 * handdown_take_for(). */
enum { SETUP_FOR_SERVE = 1, SETUP_FOR_SIGNER = 2, SETUP_FOR_SEND = 4 };

struct setup {
    struct conf conf;
    struct handdown *files;
    uid_t uid; /* of user and group; (uid_t)-1: keep */
    gid_t gid;
    int log_fd;  /* -1: not open */
    bool serves; /* a server */
    struct listeners listeners;
};

/* Set up a start from the settings in o; makes the queue's directories and,
 * with `listens`, the sockets.  `consumes`: 1 << enum spool_name for each queue
 * of which it is to be the consumer; where another process is (EWOULDBLOCK),
 * nothing is made.  0, or -1 with *e. */
int setup_start(struct setup *s, struct options *o, bool listens,
                unsigned consumes, struct err *e);

/* Set up a reload while `now` is in use; `next`: an earlier reload that waits,
 * or NULL.  Sockets of the same address are shared with these two, and so is an
 * unchanged log file (log_fd is -1). */
int setup_reload(struct setup *s, const struct options *o,
                 const struct setup *now, const struct setup *next,
                 struct err *e);

/* Of a setup that was read anew: is it the one in force?  Then s takes its
 * files, and *next is empty.  1: those files are others; 0: it is the one in
 * force; -1: it is not. */
int setup_is_same(struct setup *s, struct setup *next);

/* Replace *now by *next, which is empty afterwards. */
void setup_adopt(struct setup *now, struct setup *next);

/* Close everything not shared with a and b, which may be NULL. */
void setup_free(struct setup *s, const struct setup *a, const struct setup *b);

/* Copy the files again if one has changed.  1: new copies; 0: unchanged; -1
 * with *e: the changed file is invalid, and the copies stay. */
int setup_watch(struct setup *s, struct err *e);

/* Open the log file (again).  -1 with *e: the former one stays. */
int setup_open_log(struct setup *s, struct err *e);

/* As root, switch to the effective ids of the user, and back: for files below a
 * directory of the user.  -1 with *e: the ids are unchanged. */
int setup_as_user(const struct setup *s, struct err *e);
void setup_as_started(void);

void setup_close_log(struct setup *s);
#endif
