/* recipient/user_helper.h - the process that looks up users of the system.
 *
 * The name service may block for minutes, so processes that serve many do not
 * call it: they ask this one (recipient/user_asker.h).  It answers name by
 * name, in their order; its memory and what waits on the line are bounded. */
#ifndef MTA_RECIPIENT_USER_HELPER_H
#define MTA_RECIPIENT_USER_HELPER_H

#include "recipient/user_asker.h"

#include <stdbool.h>
#include <sys/types.h>

/* The whole life of a process: answers questions that come by fd, its end of a
 * line_pair(), and returns when the other end is closed.  only: the one user
 * that exists, by id; (uid_t)-1: all do.  (Mail is delivered to other users by
 * root alone: a system that was not started by root passes geteuid().)
 * 0; -1: the line failed. */
int user_helper_run(int fd, uid_t only);

/* One look-up, which blocks.  USER_NO is the directory's own answer; without
 * one it is USER_TEMP. */
enum user_found user_helper_find(const char *name, uid_t only);
#endif
