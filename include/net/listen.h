/* net/listen.h - listening sockets. */
#ifndef MTA_NET_LISTEN_H
#define MTA_NET_LISTEN_H

#include "base/addr.h"
#include "base/err.h"

#include <sys/types.h>

/* Bind and listen; non-blocking, close-on-exec, SO_REUSEADDR; an IPv6 socket
 * accepts IPv6 only, so [::]:25 and 0.0.0.0:25 can be open side by side.
 * Returns the descriptor, or -1 with *e, which has a hint for the usual causes
 * (port in use, privileges). */
int net_listen(const struct addr *at, int backlog, struct err *e);

/* Listen on a Unix socket `name` in the directory of that descriptor, open to
 * users by `mode`.  It gets its name when it listens, so that a client that
 * finds it is not refused; a socket that a killed process left is replaced.  A
 * link or another file of that name is not: ERR_PERM. */
struct net_unix {
    int dir;
    const char *name;
    mode_t mode;
};
int net_listen_unix(const struct net_unix *at, int backlog, struct err *e);

/* Accept one client.  Returns the descriptor, non-blocking, close-on-exec and
 * without delay of small segments, in one system call; -1 with errno EAGAIN
 * when none waits, EMFILE/ENFILE when descriptors are out (the client stays in
 * the backlog); other errors are of that client alone.  A descriptor >=
 * FD_SETSIZE is closed: errno EMFILE.  A client of a Unix socket is known by
 * its user (addr_from_uid()), which the system reports; the name is empty. */
int net_accept(int listen_fd, struct addr *peer);
#endif
