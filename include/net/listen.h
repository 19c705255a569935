/* net/listen.h - listening sockets. */
#ifndef MTA_NET_LISTEN_H
#define MTA_NET_LISTEN_H

#include "base/addr.h"
#include "base/err.h"

/* Bind and listen; non-blocking, close-on-exec, SO_REUSEADDR; an IPv6 socket
 * accepts IPv6 only, so [::]:25 and 0.0.0.0:25 can be open side by side.
 * Returns the descriptor, or -1 with *e, which has a hint for the usual causes
 * (port in use, privileges). */
int net_listen(const struct addr *at, int backlog, struct err *e);

/* Accept one client.  Returns the descriptor, non-blocking, close-on-exec and
 * without delay of small segments, in one system call; -1 with errno EAGAIN
 * when none waits, EMFILE/ENFILE when descriptors are out (the client stays in
 * the backlog); other errors are of that client alone.  A descriptor >=
 * FD_SETSIZE is closed: errno EMFILE. */
int net_accept(int listen_fd, struct addr *peer);
#endif
