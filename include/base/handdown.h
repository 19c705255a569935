/* base/handdown.h - files of settings, opened by the supervisor alone.
 *
 * The supervisor takes a copy of each file that settings need (aliases, users,
 * resolv.conf, hosts).  Processes that it forks inherit the set and read the
 * copies: all of them see the octets that were checked, a file may be one that
 * only root can read, and none of them opens a file by name.  A copy never
 * changes; a later one replaces it, and comes to a running process over its
 * line (base/line.h).
 *
 * A command without a supervisor has no set: there handdown_read() opens the
 * file. */
#ifndef MTA_BASE_HANDDOWN_H
#define MTA_BASE_HANDDOWN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { HANDDOWN_MAX = 64, HANDDOWN_BYTES_MAX = 64 * 1024 * 1024 };

struct handdown; /* a set of copies */

int handdown_new(struct handdown **set, struct err *e);
void handdown_free(struct handdown **set); /* accepts NULL */

/* Copy the file into the set, unless it is there already.  One that does not
 * exist is taken as such: an error for its reader, which may do without it. */
int handdown_take(struct handdown *set, const char *path, struct err *e);

/* The same for a file that another file names and others than its owner must
 * not change: one that is a link, or that its group or all may write to, is
 * taken as one that cannot be read (EPERM), which is an error for its reader
 * alone. */
int handdown_take_guarded(struct handdown *set, const char *path,
                          struct err *e);

/* The same for a file with a secret: copied for the processes alone that have
 * one of the bits of `readers`. */
int handdown_take_for(struct handdown *set, const char *path, unsigned readers,
                      struct err *e);

/* In a process with these bits: close the copies for others. */
void handdown_drop_others(struct handdown *set, unsigned reader);

/* Is a file another one now than when it was copied, and the same as at the
 * last call: is it written, and not being written? */
bool handdown_is_stale(struct handdown *set);

/* Keep the copies: not stale before a file changes again. */
void handdown_keep(struct handdown *set);

/* Do both have the same files in the same state? */
bool handdown_same(const struct handdown *a, const struct handdown *b);

/* This process reads from the set from now on; NULL: from files.  Returns the
 * set that was in use. */
struct handdown *handdown_use(struct handdown *set);

/* All of a file, with a NUL at its end that is not counted in *n.  The caller
 * frees *text, by handdown_wipe() if it is a secret. */
int handdown_read(char **text, size_t *n, const char *path, struct err *e);
int handdown_read_guarded(char **text, size_t *n, const char *path,
                          struct err *e);
void handdown_wipe(char **text, size_t n); /* accepts NULL */

/* Send all copies to a process with these bits, the last one first: a file that
 * another names arrives before it.  HANDDOWN_END follows behind all of them. */
#define HANDDOWN_END "end of files"
int handdown_send(const struct handdown *set, unsigned reader, int line,
                  struct err *e);

/* There: put what a message of the line brought into the set in use, which
 * then owns fd, in place of the copy of that file or as a new one.  False: the
 * message is of another kind. */
bool handdown_accept(const char *message, int fd);

/* Accept all files that wait on the line, and drop messages of another kind.
 * *renewed: there was a file.  0; -1: the other end is closed. */
int handdown_receive(int line, bool *renewed);
#endif
