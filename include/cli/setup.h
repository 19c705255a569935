/* cli/setup.h - all that the supervisor reads, checks and opens for its
 * services: settings, copies of the files they name, listening sockets, the
 * log file.
 *
 * A start makes one.  A reload makes another beside the one in force, whole;
 * a mistake anywhere leaves everything as it was. */
#ifndef MTA_CLI_SETUP_H
#define MTA_CLI_SETUP_H

#include "base/handdown.h"
#include "cli/options.h"
#include "serve/worker.h"

struct setup {
    struct conf conf;
    struct handdown *files;
    uid_t uid; /* of user and group; (uid_t)-1: stay */
    gid_t gid;
    int log_fd; /* -1: not open */
    size_t nlisten;
    int listen_fd[LISTEN_MAX]; /* for each of serve.listen; -1: none */
    struct addr listen_at[LISTEN_MAX];
};

/* Of the settings of a start, which o holds already; makes the queue's
 * directories.  With `listens`, the sockets too.  0, or -1 with *e. */
int setup_start(struct setup *s, struct options *o, bool listens,
                struct err *e);

/* Read anew, while `now` is in force; `next`: one that has been read already
 * and waits, or NULL.  Sockets of addresses that they have are shared with
 * them, and so is a log file that stays the same (log_fd is -1). */
int setup_reload(struct setup *s, const struct options *o,
                 const struct setup *now, const struct setup *next,
                 struct err *e);

/* Of a setup that was read anew: is it the one in force?  Then s takes its
 * files, and *next is empty.  1: those files are others; 0: it is the one in
 * force; -1: it is not. */
int setup_is_same(struct setup *s, struct setup *next);

/* *next comes into force, and is empty then. */
void setup_adopt(struct setup *now, struct setup *next);

/* Close all but what the other two share; they may be NULL. */
void setup_free(struct setup *s, const struct setup *a, const struct setup *b);

/* Take copies of the files again, if one of them has changed.  1: there are
 * new ones; 0: nothing has changed; -1 with *e: the changed file is wrong, and
 * the copies stay. */
int setup_watch(struct setup *s, struct err *e);

/* Open the log file (anew).  -1 with *e: the one before stays. */
int setup_open_log(struct setup *s, struct err *e);

/* As root, take the effective ids of the user, and give them back: for what
 * is made below a directory that is the user's.  -1 with *e: they are those
 * of before. */
int setup_as_user(const struct setup *s, struct err *e);
void setup_as_started(void);

/* Close what is not for a process of the server (or sender, collector). */
void setup_close_listen(struct setup *s);
void setup_close_log(struct setup *s);
#endif
