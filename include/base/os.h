/* base/os.h - processes, descriptors and privileges. */
#ifndef MTA_BASE_OS_H
#define MTA_BASE_OS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* 0, or -1 with errno. */
int os_nonblock(int fd);
int os_cloexec(int fd);

/* A pipe, both ends close-on-exec and non-blocking.  0, or -1 with errno. */
int os_pipe(int end[2]);

/* Two calls for such a pipe.  os_poke() wakes the reader; false: it may sleep
 * on, and must be poked again.  os_drain() empties the pipe. */
bool os_poke(int fd);
void os_drain(int fd);

/* Sleep for so many us, or until a signal arrives. */
void os_pause(long us);

/* A process that starts right after a SIGKILL of its predecessor finds locks
 * and ports that are still being released, and retries for OS_PATIENCE_MS: true
 * after a pause, false when that time is over.  *until is 0 before the first
 * call. */
enum { OS_PATIENCE_MS = 1000 };
bool os_again(uint64_t *until);

/* dir "/" name; false when it does not fit.  An empty name gives dir. */
bool os_path(char *out, size_t size, const char *dir, const char *name);
/* What stands behind its last slash; all of it, when there is none. */
const char *os_base_name(const char *path);

/* Make the directory and those above it.  Existing ones are left alone. */
int os_mkdirs(const char *path, mode_t mode, struct err *e);

/* Become user and group for good: group, supplementary groups, user, then
 * proof that root cannot come back.  Empty or NULL names: stay (user given
 * and group empty: the user's own group).  Names or decimal numbers.  Being
 * that user already is success. */
int os_drop_privileges(const char *user, const char *group, struct err *e);

/* As root only: take these effective ids and no group but gid, until
 * os_act_as_started(), which gives back those of the start.  For what belongs
 * to another user; a child that is forked meanwhile may go back too.  -1: keep.
 * -1 with *e: all is as at the start; of os_act_as_started(): the process is
 * in between, and should end. */
int os_act_as(uid_t uid, gid_t gid, struct err *e);
int os_act_as_started(struct err *e);

/* The ids of the names, without changing anything.  (uid_t)-1 and (gid_t)-1
 * where a name is empty. */
int os_find_ids(const char *user, const char *group, uid_t *uid, gid_t *gid,
                struct err *e);

/* Close all descriptors but fd, standard input, output and error. */
void os_keep_only(int fd);

/* Raise the soft limit of descriptors to at least n, as far as the hard
 * limit allows; returns the limit that now holds. */
size_t os_want_fds(size_t n);

/* Does that errno mean that the system is short of descriptors or memory?
 * Temporary, and no fault of the peer. */
bool os_is_short(int why);

/* A signal handler without SA_RESTART; SIG_IGN and SIG_DFL work too. */
void os_signal(int signo, void (*handler)(int));

/* Ignore signals that must not end a server, in its children too.  SIGXFSZ:
 * writing beyond a limit is then an error like a full disk.  SIGTTOU: a
 * process writes to the terminal of another process group. */
void os_ignore_strays(void);

/* fork(), for a child that serves its parent: it gets SIGTERM when the parent
 * dies, and the parent's handlers are not its own (signals_forget()).  No
 * signal is lost in between. */
pid_t os_fork(void);

/* No user can be found here, as in a container without /etc/passwd. */
bool os_has_no_users(void);

/* The host's name, fully qualified where the system knows it. */
void os_hostname(char *out, size_t size);
#endif
